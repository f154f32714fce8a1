"""Resolver: bare outcomes are given the context of their trace, which it looks up in ClickHouse.

It reads the topic of outcomes beside the joiner, which leaves the bare ones to it, and gives back what it has found on
`outcomes_resolved`, which the joiner reads too. A trace that is not stored yet is asked for again later, with growing
waits; what has no trace in the end is given back as it came, and the joiner makes it a dead letter. Nobody else waits
for ClickHouse: while it is away, only bare outcomes stand still.

What a record becomes and that it is done is one transaction, so nothing is lost and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import structlog
from clickhouse_connect.driver.exceptions import ClickHouseError
from faust.types import TP

from stoploss.errors import ConfigurationError, DeliveryFailed
from stoploss.settings import Settings
from streams.app import App, build_app
from streams.batches import Batch, Record
from streams.gathering import Gathering
from streams.looking_up import LookedUp, NotAnswered, Waypoint
from streams.measuring import BARE_OUTCOMES, BARE_WAITING
from streams.member import Limits
from streams.transport import consumer_of

T = TypeVar("T")
log = structlog.get_logger("stoploss.resolver")


@dataclass(frozen=True, slots=True)
class Stage:
    """A topic of bare outcomes.

    wait_s  how long each waits here before it is looked up
    then    the topic of those whose trace is not stored yet; None: they are given up
    """

    topic: str
    wait_s: float
    then: str | None


STAGES = (
    Stage("outcomes", 0.0, "outcomes_retry_1m"),
    # A trace is sent when its request ends and is stored seconds later: a minute is a long request, or a busy recorder.
    Stage("outcomes_retry_1m", 60.0, "outcomes_retry_10m"),
    # A recorder was started again, or a service could not send for a while.
    Stage("outcomes_retry_10m", 600.0, "outcomes_retry_1h"),
    # An outage that somebody had to mend. What is not stored after it is missing, and a person should know.
    Stage("outcomes_retry_1h", 3_600.0, None),
)
MOST_AT_ONCE = 500
RETRY_FIRST_S, RETRY_LONGEST_S = 0.5, 15.0
STATUS_EVERY_S = 1.0
PUBLISH_TIMEOUT_S = 45.0
"""Behind a broker that was started anew librdkafka may not return from send_offsets_to_transaction for minutes,
whatever timeout it is given (its issues 5456 and 5511). By then the broker has ended the transaction: to begin anew is
quicker."""
LIMITS = Limits(drain_timeout_s=1.0)
"""Records wait by design. Who waits has begun nothing: letting go costs nothing."""
SLEEP_S = 10.0


class Resolver:
    """Each partition has a thread, and a producer that is fenced when another resolver takes it over."""

    def __init__(self, settings: Settings, stages: Sequence[Stage] = STAGES) -> None:
        self.settings = settings
        self._stages = {settings.topics(stage.topic): stage for stage in stages}
        self._threads: dict[TP, ThreadPoolExecutor] = {}
        self._waypoints: dict[TP, Waypoint] = {}
        self._gatherings: dict[TP, Gathering[Batch]] = {}
        self._held: dict[TP, int] = {}
        handlers = {stage.topic: self.handle for stage in stages}
        self.app: App = build_app(settings, "resolver", handlers, restore=self.restore, limits=LIMITS)
        self.app.timer(STATUS_EVERY_S, name="streams.resolver.status")(self.status)

    async def _in_thread(self, tp: TP, call: Callable[[], T]) -> T:
        thread = self._threads.setdefault(tp, ThreadPoolExecutor(1, f"resolver-{tp.topic}-{tp.partition}"))
        return await asyncio.get_running_loop().run_in_executor(thread, call)

    async def restore(self, tp: TP) -> int | None:
        """Takes a partition over: fences its former resolver, and says where that one was."""
        former, waypoint = self._waypoints.pop(tp, None), self.waypoint(tp)
        if former is not None:
            await self._in_thread(tp, former.close)
        offset = await self._in_thread(tp, waypoint.open)
        self._waypoints[tp], self._held[tp] = waypoint, 0
        work = functools.partial(self._resolve, tp)
        self._gatherings[tp] = Gathering(lambda: self.app, f"resolving {tp.topic}-{tp.partition}", work)
        return offset

    def waypoint(self, tp: TP) -> Waypoint:
        then = self._stages[tp.topic].then
        if then is None:
            return Waypoint(self.settings, tp, None)
        topic = self.settings.topics(then)
        return Waypoint(self.settings, tp, (topic, self._stages[topic].wait_s))

    async def handle(self, batch: Batch) -> None:
        """Hands the batch to its partition and returns: partitions do not wait for each other."""
        self._held[batch.tp] += len(batch)
        self._gatherings[batch.tp].put(batch)

    # ---- one partition -------------------------------------------------------------------------

    async def _resolve(self, tp: TP, batches: Sequence[Batch]) -> None:
        """All records of the batches, which are of one take-over; a lost one's are read again by whoever has it now."""
        consumer = consumer_of(self.app)
        records = [record for batch in batches for record in batch.records]
        while records and consumer.owns(batches[0]):
            waypoint = self._waypoints[tp]  # none while it is taken over anew; then nothing that waited is owned
            due = await self._due(tp, records)
            found = await self._looked_up(waypoint, batches[0], due)
            if found is None or not consumer.owns(batches[0]):
                return
            await self._publish(tp, functools.partial(waypoint.publish, found))
            for result, number in found.counts().items():
                BARE_OUTCOMES.labels(result).inc(number)
            records = records[len(due) :]
            self._held[tp] -= len(due)
            for batch in batches:
                if due[0].offset <= batch.last <= due[-1].offset:
                    consumer.complete(batch)

    async def _publish(self, tp: TP, publish: Callable[[], None]) -> None:
        """Raises DeliveryFailed, which ends this worker, where it does not return in time: nobody can call it off."""
        try:
            await asyncio.wait_for(self._in_thread(tp, publish), PUBLISH_TIMEOUT_S)
        except TimeoutError as error:
            where = f"what was found for {tp.topic}-{tp.partition}"
            raise DeliveryFailed(f"{where} was not published within {PUBLISH_TIMEOUT_S:.0f} s") from error

    async def _due(self, tp: TP, records: Sequence[Record]) -> Sequence[Record]:
        """The first records, once the first of them is due. They became due in their order, or nearly so."""
        longest_s = self._stages[tp.topic].wait_s
        if not longest_s:
            return records[:MOST_AT_ONCE]
        rest_s = min(longest_s, Waypoint.due_s(records[0]) - time.time())
        while rest_s > 0:
            consumer_of(self.app).lives([tp])
            await asyncio.sleep(min(rest_s, SLEEP_S))
            rest_s -= SLEEP_S
        now_s = time.time()
        others = itertools.takewhile(lambda record: Waypoint.due_s(record) <= now_s, records[1:MOST_AT_ONCE])
        return [records[0], *others]

    async def _looked_up(self, waypoint: Waypoint, batch: Batch, records: Sequence[Record]) -> LookedUp | None:
        """Asks until there is an answer; None where the partition was lost meanwhile."""
        wait_s = RETRY_FIRST_S
        while consumer_of(self.app).owns(batch):
            try:
                return await self._in_thread(batch.tp, lambda: waypoint.look_up(records))
            except (ClickHouseError, ConfigurationError, NotAnswered, OSError) as error:
                log.warning("look-up failed, will be repeated", topic=batch.tp.topic, reason=str(error)[:500])
            consumer_of(self.app).lives([batch.tp])
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_LONGEST_S)
        return None

    async def status(self) -> None:
        waiting = (tp for tp in consumer_of(self.app).owned() if self._stages[tp.topic].wait_s)
        BARE_WAITING.set(sum(self._held.get(tp, 0) for tp in waiting))


def build(settings: Settings) -> App:
    return Resolver(settings).app
