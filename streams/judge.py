"""Judge: folds the ledger and publishes what follows. One thread and one fenced producer per ledger partition."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from faust.types import TP

from stoploss.settings import Settings
from streams.app import App, build_app
from streams.batches import Batch
from streams.gathering import Gathering
from streams.measuring import BEHIND, BLIND
from streams.partition_judge import Keys, PartitionJudge
from streams.transport import consumer_of

T = TypeVar("T")
TICK_S = 1.0


class Judge:
    """The partitions that this worker judges."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self.settings, self.keys = settings, keys
        self.owner = f"{socket.gethostname()}-{os.getpid()}"
        self._judges: dict[int, PartitionJudge] = {}
        self._threads: dict[int, ThreadPoolExecutor] = {}
        self._gatherings: dict[int, Gathering[Batch]] = {}
        self.app: App = build_app(settings, "judge", {"ledger": self.handle}, restore=self.restore)
        self.app.timer(TICK_S, name="streams.judge.ticks")(self.tick)
        self.app.at_the_end = self._close

    async def _close(self) -> None:
        for tp in consumer_of(self.app).owned():
            if tp.partition in self._judges:
                await self._in_thread(tp.partition, self._judges[tp.partition].snapshot_at_the_end)

    async def _in_thread(self, partition: int, call: Callable[[], T]) -> T:
        thread = self._threads.setdefault(partition, ThreadPoolExecutor(1, f"judge-{partition}"))
        return await asyncio.get_running_loop().run_in_executor(thread, call)

    async def restore(self, tp: TP) -> int | None:
        """Takes a partition over: fences its former judge, restores the state, and says where to read on."""
        judge = PartitionJudge(self.settings, tp.partition, self.keys)
        offset = await self._in_thread(tp.partition, judge.restore)
        await self._in_thread(tp.partition, judge.announce)
        self._judges[tp.partition] = judge
        work = functools.partial(self._judge, tp.partition)
        self._gatherings[tp.partition] = Gathering(lambda: self.app, f"judging {tp.topic}-{tp.partition}", work)
        return offset

    async def handle(self, batch: Batch) -> None:
        """Hands the batch to its partition and returns: partitions do not wait for each other."""
        self._gatherings[batch.tp.partition].put(batch)

    async def _judge(self, partition: int, batches: Sequence[Batch]) -> None:
        """What has gathered, in one transaction; being fenced in it ends the worker."""
        consumer, judge = consumer_of(self.app), self._judges[partition]
        ours = [batch for batch in batches if consumer.owns(batch)]
        await self._in_thread(partition, lambda: judge.judge([record for batch in ours for record in batch.records]))
        for batch in ours:
            consumer.complete(batch)
        await self._in_thread(partition, judge.snapshot_if_due)

    async def tick(self) -> None:
        """A second has passed on every partition that is provably ours."""
        owned = [tp.partition for tp in consumer_of(self.app).owned()]
        BEHIND.clear()
        BLIND.clear()
        ticks = [self._in_thread(partition, self._ticking(partition)) for partition in owned]
        await asyncio.gather(*ticks)

    def _ticking(self, partition: int) -> Callable[[], None]:
        judge = self._judges[partition]
        BEHIND.labels(str(partition)).set(judge.behind_s())
        BLIND.labels(str(partition)).set(judge.blind_runs())
        return lambda: judge.tick(self.owner)


def build(settings: Settings, keys: Keys) -> App:
    return Judge(settings, keys).app
