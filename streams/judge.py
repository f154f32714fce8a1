"""Judge: folds the ledger and publishes what follows. One thread and one fenced producer per ledger partition."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from faust.types import TP

from stoploss.settings import Settings
from streams.app import App, build_app
from streams.batches import Batch
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
        self._under_way: set[asyncio.Task[None]] = set()
        self.app: App = build_app(settings, "judge", {"ledger": self.handle}, restore=self.restore)
        self.app.timer(TICK_S, name="streams.judge.ticks")(self.tick)

    async def _in_thread(self, partition: int, call: Callable[[], T]) -> T:
        thread = self._threads.setdefault(partition, ThreadPoolExecutor(1, f"judge-{partition}"))
        return await asyncio.get_running_loop().run_in_executor(thread, call)

    async def restore(self, tp: TP) -> int | None:
        """Takes a partition over: fences its former judge, restores the state, and says where to read on."""
        judge = PartitionJudge(self.settings, tp.partition, self.keys)
        offset = await self._in_thread(tp.partition, judge.restore)
        await self._in_thread(tp.partition, judge.announce)
        self._judges[tp.partition] = judge
        return offset

    async def handle(self, batch: Batch) -> None:
        """Hands the batch to its partition's thread and returns: partitions do not wait for each other."""
        judging = asyncio.ensure_future(self._judge(self._judges[batch.tp.partition], batch))
        self._under_way.add(judging)
        judging.add_done_callback(self._under_way.discard)

    async def _judge(self, judge: PartitionJudge, batch: Batch) -> None:
        """Runs beside the agent: what goes wrong here, above all being fenced, ends the worker all the same."""
        consumer = consumer_of(self.app)
        try:
            if consumer.owns(batch):
                await self._in_thread(batch.tp.partition, lambda: judge.judge(batch.records))
                consumer.complete(batch)
                await self._in_thread(batch.tp.partition, judge.snapshot_if_due)
        except Exception as error:
            consumer.fail(f"judging {batch} failed: {error}", error)
            raise

    async def tick(self) -> None:
        """A second has passed on every partition that is provably ours."""
        owned = [tp.partition for tp in consumer_of(self.app).owned()]
        ticks = [self._in_thread(partition, self._ticking(partition)) for partition in owned]
        await asyncio.gather(*ticks)

    def _ticking(self, partition: int) -> Callable[[], None]:
        return lambda: self._judges[partition].tick(self.owner)


def build(settings: Settings, keys: Keys) -> App:
    return Judge(settings, keys).app
