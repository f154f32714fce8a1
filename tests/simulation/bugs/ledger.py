"""Bugs on the way into the ledger: delivery, offsets, sources, repeats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from stoploss import counting, monitor
from stoploss.ledger import Source
from streams import appender, batches, feeding, reports
from streams.batches import Batch
from tests.simulation import processes, producer
from tests.simulation.bugs.planting import Bug, replaced


def acknowledged_before_it_is_done() -> AbstractContextManager[None]:
    """A batch is complete as soon as it is read: what a crash keeps from the ledger is never read again."""
    publish = feeding.Feeder._publish

    async def publish_gathered(self: Any, read: Sequence[feeding.Read]) -> None:
        for part in read:
            self._complete(part)
        await self._in_thread(lambda: publish(self, read))

    return replaced(feeding.Feeder, "_publish_gathered", publish_gathered)


def asks_nobody_whether_it_owns() -> AbstractContextManager[None]:
    """A worker that was frozen, and whose partitions are another's by now, goes on with what it holds."""

    def owns(self: Any, batch: Batch) -> bool:
        partition = self._partitions.get(batch.tp)
        return partition is not None and partition.generation == batch.generation

    return replaced(processes.GroupConsumer, "owns", owns)


def commits_what_is_in_flight() -> AbstractContextManager[None]:
    """The offset to commit includes batches that were delivered and are not done."""

    def commit_due(self: Any) -> batches.Mark | None:
        return None if self.next_offset == self.committed else batches.Mark(self.next_offset, self.log)

    return replaced(batches.Partition, "commit_due", property(commit_due))


def says_it_is_done_when_it_is_handed_over() -> AbstractContextManager[None]:
    """A worker's first status had the monitor think that it had seen what was still read. It did: found by a count."""
    return replaced(batches.Partition, "done_to", property(lambda self: self.next_offset))


def believes_every_commit() -> AbstractContextManager[None]:
    """A commit that failed is taken for one that was done, and never repeated."""
    commit = processes.Membership.commit_once

    async def once(self: Any, offsets: Any) -> bool:
        await commit(self, offsets)
        return True

    return replaced(processes.Membership, "commit_once", once)


def does_not_wait_for_delivery() -> AbstractContextManager[None]:
    """Batches are complete before the delivery reports are there."""
    return replaced(appender.Appender, "flush", lambda self: None)


def sends_on_after_a_failure() -> AbstractContextManager[None]:
    """A producer that goes on behind a failed record: later rows are in the ledger, the failed ones are trimmed."""
    make = producer.SimProducer.__init__

    def made(self: Any, config: Any) -> None:
        make(self, {**config, producer.GAPLESS: False})

    return replaced(producer.SimProducer, "__init__", made)


@contextmanager
def believes_what_was_delivered_at_no_place() -> Iterator[None]:
    """Several requests are under way, so one may be overtaken; what is told of it is that it was delivered. It did."""
    make, is_repeat = producer.SimProducer.__init__, reports.Places.is_repeat

    def made(self: Any, config: Any) -> None:
        make(self, {**config, producer.IN_FLIGHT: 5})

    def believed(self: Any, delivered: Any) -> bool:
        return delivered.offset() >= 0 and is_repeat(self, delivered)

    with replaced(producer.SimProducer, "__init__", made), replaced(reports.Places, "is_repeat", believed):
        yield


def sources_without_their_uuid() -> AbstractContextManager[None]:
    """A topic that was made again is taken for the one before: its first rows are trimmed."""
    same = property(lambda self: Source(self.tp.topic, "always the same", self.tp.partition))
    return replaced(batches.Batch, "source", same)


def keeps_the_uuid_of_its_start() -> AbstractContextManager[None]:
    """A worker that lives through the deletion of its topic goes on under the old UUID. It did: found by this."""

    handle = feeding.Feeder.handle

    async def handled(self: Any, batch: Any) -> None:
        logs = self.__dict__.setdefault("logs_of_its_start", {})
        await handle(self, replace(batch, log=logs.setdefault(batch.tp, batch.log)))

    return replaced(feeding.Feeder, "handle", handled)


def commits_without_the_name_of_its_log() -> AbstractContextManager[None]:
    """A commit that was on its way while its topic was made again counts for the new one. It did: found by this."""
    commit = processes.Membership.commit_once

    async def once(self: Any, marks: Any) -> bool:
        return await commit(self, {tp: batches.Mark(mark.offset, "") for tp, mark in marks.items()})

    return replaced(processes.Membership, "commit_once", once)


def trims_nothing() -> AbstractContextManager[None]:
    """Rows that come a second time are rows."""
    beyond = counting._beyond_watermarks

    def all_of_them(state: Any, block: Any, columns: Any) -> Any:
        beyond(state, block, columns)
        return columns.offset >= 0

    return replaced(counting, "_beyond_watermarks", all_of_them)


def requests_as_often_as_they_come() -> AbstractContextManager[None]:
    """A request that stands in the ledger twice is handled twice."""
    request = monitor._request

    def forgetful(state: Any, asked: Any, out: Any) -> None:
        if (experiment := state.experiments.get(asked.experiment)) is not None:
            experiment.requests = []
        request(state, asked, out)

    return replaced(monitor, "_request", forgetful)


BUGS: tuple[Bug, ...] = (
    acknowledged_before_it_is_done,
    asks_nobody_whether_it_owns,
    commits_what_is_in_flight,
    says_it_is_done_when_it_is_handed_over,
    believes_every_commit,
    does_not_wait_for_delivery,
    sends_on_after_a_failure,
    believes_what_was_delivered_at_no_place,
    sources_without_their_uuid,
    keeps_the_uuid_of_its_start,
    commits_without_the_name_of_its_log,
    trims_nothing,
    requests_as_often_as_they_come,
)
