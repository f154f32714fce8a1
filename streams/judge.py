"""Judge: folds the ledger and publishes what follows. One thread and one fenced producer per ledger partition."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from faust.types import TP

from stoploss.rules import detectors
from stoploss.settings import Settings
from streams.app import App, build_app
from streams.batches import Batch
from streams.gathering import Gathering
from streams.measuring import Sight
from streams.partition_judge import Keys, PartitionJudge
from streams.transport import consumer_if_any, consumer_of

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
        self._ticks: dict[int, asyncio.Task[None]] = {}
        self.app: App = build_app(settings, "judge", {"ledger": self.handle}, restore=self.restore)
        self.app.timer(TICK_S, name="streams.judge.ticks")(self.tick)
        self.app.at_the_end = self._close
        self.app.sights = self._sights

    async def _close(self) -> None:
        for partition in self._owned():
            await self._in_thread(partition, self._judges[partition].snapshot_at_the_end)

    async def _in_thread(self, partition: int, call: Callable[[], T]) -> T:
        thread = self._threads.setdefault(partition, ThreadPoolExecutor(1, f"judge-{partition}"))
        return await asyncio.get_running_loop().run_in_executor(thread, call)

    async def restore(self, tp: TP) -> int | None:
        """Takes a partition over: fences its former judge, restores the state, and says where to read on."""
        judge = PartitionJudge(self.settings, tp.partition, self.keys)
        offset = await self._in_thread(tp.partition, judge.restore)
        await self._in_thread(tp.partition, judge.announce)
        self._judges[tp.partition] = judge
        self._ticks.pop(tp.partition, None)
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
        """A second has passed on every partition that is provably ours; one that is at work holds up no other."""
        for partition in self._owned():
            before = self._ticks.get(partition)
            if before is None or before.done():
                if before is not None:
                    before.result()  # what went wrong with it ends this worker
                ticking = functools.partial(self._judges[partition].tick, self.owner)
                self._ticks[partition] = asyncio.create_task(self._in_thread(partition, ticking))

    def _owned(self) -> list[int]:
        return [tp.partition for tp in consumer_of(self.app).owned() if tp.partition in self._judges]

    def _sights(self) -> dict[int, Sight]:
        """Of each partition, as of now. From any thread."""
        owned = self._owned() if consumer_if_any(self.app) else []
        judges = {partition: self._judges[partition] for partition in owned}
        return {partition: Sight(judge.behind_s(), judge.blind_runs()) for partition, judge in judges.items()}


def build(settings: Settings, keys: Keys) -> App:
    threading.Thread(
        target=detectors.load, name="loading river", daemon=True
    ).start()  # before an experiment waits for it
    return Judge(settings, keys).app
