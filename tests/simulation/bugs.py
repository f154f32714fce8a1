"""Bugs put in on purpose: each of those that DELIVERY's findings could have brought into this code. The simulation must
find every one of them; a planted bug that nobody finds says that an invariant or a fault is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from aiokafka import ConsumerRecord
from confluent_kafka import KafkaError, KafkaException

from stoploss import counting, monitor, ramping, snapshot
from stoploss.control import controller, kafka_loop
from stoploss.control.decide import Obey
from stoploss.errors import Fenced
from stoploss.ledger import Request, Source
from stoploss.lifecycle import LATCHED
from stoploss.state import Cursor
from streams import appender, batches, feeding, partition_judge, reading, snapshot_store, transactions
from streams.batches import Batch
from streams.transactions import Outgoing
from tests.simulation import processes, producer

Bug = Callable[[], AbstractContextManager[None]]


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    there, before = name in vars(owner), vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if there:
            setattr(owner, name, before)
        else:
            delattr(owner, name)  # a builtin, which the module knows without having it


# ---- into the ledger -----------------------------------------------------------------------------


def acknowledged_before_it_is_done() -> AbstractContextManager[None]:
    """A batch is complete as soon as it is read: what a crash keeps from the ledger is never read again."""
    publish = feeding.Feeder._publish

    async def feed(self: Any, batches_: Sequence[Batch]) -> None:
        read = await self._in_thread(lambda: self._read(batches_))
        for part in read:
            self._complete(part)
        await self._in_thread(lambda: publish(self, read))

    return replaced(feeding.Feeder, "_feed", feed)


def commits_what_is_in_flight() -> AbstractContextManager[None]:
    """The offset to commit includes batches that were delivered and are not done."""

    def commit_due(self: Any) -> int | None:
        return None if self.next_offset == self.committed else self.next_offset

    return replaced(batches.Partition, "commit_due", property(commit_due))


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


def sources_without_their_uuid() -> AbstractContextManager[None]:
    """A topic that was made again is taken for the one before: its first rows are trimmed."""
    return replaced(feeding.Feeder, "_source", lambda self, tp: Source(tp.topic, "always the same", tp.partition))


def keeps_the_uuid_of_its_start() -> AbstractContextManager[None]:
    """A worker that lives through the deletion of its topic goes on under the old UUID. It did: found by this."""

    async def taken_over(self: Any, tp: Any) -> None:
        self._totals.pop(tp, None)
        self._gathering.drop(lambda batch: batch.tp == tp)

    return replaced(feeding.Feeder, "_taken_over", taken_over)


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


# ---- out of the judge ----------------------------------------------------------------------------


def cursor_after_the_outputs() -> AbstractContextManager[None]:
    """The cursor is written when the outputs are out: a crash between the two publishes them again."""

    def publish(self: Any, outgoing: list[Outgoing], touched: dict[str, Cursor]) -> None:
        self._transactor.publish(outgoing)
        _write_cursors(self, touched)

    return replaced(partition_judge.PartitionJudge, "_publish", publish)


def cursor_before_the_outputs() -> AbstractContextManager[None]:
    """The cursor is written first: a crash between the two loses the outputs."""

    def publish(self: Any, outgoing: list[Outgoing], touched: dict[str, Cursor]) -> None:
        _write_cursors(self, touched)
        self._transactor.publish(outgoing)

    return replaced(partition_judge.PartitionJudge, "_publish", publish)


def _write_cursors(judge: Any, touched: dict[str, Cursor]) -> None:
    for cursor in touched.values():
        key, value = snapshot_store.cursor_record(cursor)
        judge._appender.append(judge.topics("snapshots"), value, key=key, partition=judge.partition)
    judge._appender.flush()
    judge._cursors.update(touched)


def snapshot_before_the_outputs() -> AbstractContextManager[None]:
    """A snapshot holds what was folded and not yet published: the successor folds on behind it."""
    publish = partition_judge.PartitionJudge._publish

    def early(self: Any, *args: Any) -> None:
        self.snapshot_if_due()
        publish(self, *args)

    return replaced(partition_judge.PartitionJudge, "_publish", early)


def initialises_again_after_a_fence() -> AbstractContextManager[None]:
    """The fenced judge opens anew, fences the rightful one, and says everything once more."""
    publish = transactions.Transactor.publish

    def stubborn(self: Any, outgoing: Sequence[Outgoing]) -> None:
        try:
            publish(self, outgoing)
        except Fenced:
            self._fenced = False
            self._producer = producer.SimProducer({"transactional.id": self.transactional_id})
            self._producer.init_transactions()
            publish(self, outgoing)

    return replaced(transactions.Transactor, "publish", stubborn)


def reads_before_it_fences() -> AbstractContextManager[None]:
    """The state is read before the former judge is fenced: what that one still publishes is published again."""
    read, open_ = partition_judge.read_snapshots, transactions.Transactor.open
    kept: dict[int, Any] = {}

    def opened(self: Any) -> None:
        from tests.simulation.roles import KEYS, SETTINGS, TOPICS

        kept[self.partition] = read(SETTINGS.need_kafka(), TOPICS("snapshots"), self.partition, KEYS.secret)
        open_(self)

    @contextmanager
    def both() -> Iterator[None]:
        with (
            replaced(transactions.Transactor, "open", opened),
            replaced(partition_judge, "read_snapshots", lambda *asked: kept[asked[2]]),
        ):
            yield

    return both()


def sends_again_after_a_lost_commit() -> AbstractContextManager[None]:
    """A commit without an answer is taken for one that failed: the outputs go out once more."""

    def commit(self: Any) -> None:
        try:
            self._producer.commit_transaction()
        except KafkaException as error:
            if error.args[0].retriable():
                failed = KafkaError(KafkaError._TIMED_OUT, "given up", txn_requires_abort=True)
                raise KafkaException(failed) from error
            raise

    return replaced(transactions.Transactor, "_commit", commit)


def gives_up_after_an_abort() -> AbstractContextManager[None]:
    """After an abortable error the outputs are dropped, as if a new fold would bring them."""

    def publish(self: Any, outgoing: Sequence[Outgoing]) -> None:
        try:
            self._attempt(outgoing)
        except KafkaException as error:
            self._raise_if_final(error.args[0], 0)
            self._producer.abort_transaction()

    return replaced(transactions.Transactor, "publish", publish)


def publishes_without_a_transaction() -> AbstractContextManager[None]:
    """Outputs are records like others: a crash among them leaves half."""

    def publish(self: Any, outgoing: list[Outgoing], touched: dict[str, Cursor]) -> None:
        for record in outgoing:
            headers = [(name, value or b"") for name, value in record.headers]
            self._appender.append(record.topic, record.value, key=record.key, partition=self.partition, headers=headers)
        _write_cursors(self, touched)

    return replaced(partition_judge.PartitionJudge, "_publish", publish)


def says_everything_again() -> AbstractContextManager[None]:
    """After a restart nothing is suppressed."""
    return replaced(partition_judge.PartitionJudge, "_published", lambda *_: False)


def judges_at_the_end_of_a_fetch() -> AbstractContextManager[None]:
    """What was fetched together is judged together, so ids and journal depend on the fetch."""
    judge = partition_judge.PartitionJudge.judge

    def together(self: Any, records: Sequence[ConsumerRecord]) -> None:
        if len(records) > 1:
            last = records[-1].timestamp
            records = [replace(record, timestamp=last) for record in records]
        judge(self, records)

    return replaced(partition_judge.PartitionJudge, "judge", together)


def trusts_any_snapshot() -> AbstractContextManager[None]:
    """The MAC of a snapshot is not looked at."""

    class Trusting:
        compare_digest = staticmethod(lambda a, b: True)
        new = staticmethod(snapshot.hmac.new)

    return replaced(snapshot, "hmac", Trusting)


def resumes_by_itself() -> AbstractContextManager[None]:
    """What was stopped is exposed again, and nobody has asked for it."""
    tick = monitor._tick_run

    def eager(partition: Any, state: Any, measure: bool, out: Any) -> None:
        tick(partition, state, measure, out)
        if state.lifecycle in LATCHED:
            asked = Request("", state.name, "resume", "the monitor", "", 0)
            monitor._begin_run(state, asked, "the monitor thinks that it is over", out)

    return replaced(monitor, "_tick_run", eager)


def skips_a_stage() -> AbstractContextManager[None]:
    """The ramp goes to its last stage at once."""
    advance = ramping._advance

    def leap(state: Any, _: float, out: Any) -> None:
        advance(state, state.experiment.spec.ramp.stages[-1], out)

    return replaced(ramping, "_advance", leap)


def goes_back_with_the_clock() -> AbstractContextManager[None]:
    """Ledger time is what the broker's clock says, even where that was set back."""
    return replaced(monitor, "max", lambda _, at: at)


# ---- who reads -----------------------------------------------------------------------------------


def restores_what_is_not_committed() -> AbstractContextManager[None]:
    """Cursors are read uncommitted: one whose outputs were aborted hides them for ever."""
    reader = reading.reader

    def loose(bootstrap: str, **config: object) -> Any:
        return reader(bootstrap, **{**config, "isolation.level": "read_uncommitted"})

    return replaced(reading, "reader", loose)


def controllers_obey_what_is_not_committed() -> AbstractContextManager[None]:
    settings = kafka_loop.consumer_settings
    loose = {"isolation.level": "read_uncommitted"}
    return replaced(kafka_loop, "consumer_settings", lambda controller_: {**settings(controller_), **loose})


def controllers_obey_whatever_comes_last() -> AbstractContextManager[None]:
    """No order, no latch, no expiry: a command that is sent again late undoes the one after it."""

    return replaced(controller, "decide", lambda *_, **__: Obey())


def commands_are_rewritten_when_sent_again() -> AbstractContextManager[None]:
    """A re-send is signed and stamped anew instead of being the same bytes."""
    from stoploss.control.messages import write_command
    from streams import courier
    from tests.simulation.roles import KEYS

    send = courier.Courier._send_again

    def anew(self: Any) -> None:
        for waiting in self._outstanding.waiting.values():
            later = replace(waiting.command, reason=waiting.command.reason + " (again)")
            waiting.message = write_command(later, KEYS.signer, "sim")
        send(self)

    return replaced(courier.Courier, "_send_again", anew)


BUGS: dict[str, Bug] = {
    bug.__name__: bug
    for bug in (
        acknowledged_before_it_is_done,
        commits_what_is_in_flight,
        believes_every_commit,
        does_not_wait_for_delivery,
        sends_on_after_a_failure,
        sources_without_their_uuid,
        keeps_the_uuid_of_its_start,
        trims_nothing,
        requests_as_often_as_they_come,
        cursor_after_the_outputs,
        cursor_before_the_outputs,
        snapshot_before_the_outputs,
        initialises_again_after_a_fence,
        reads_before_it_fences,
        sends_again_after_a_lost_commit,
        gives_up_after_an_abort,
        publishes_without_a_transaction,
        says_everything_again,
        judges_at_the_end_of_a_fetch,
        trusts_any_snapshot,
        resumes_by_itself,
        skips_a_stage,
        goes_back_with_the_clock,
        restores_what_is_not_committed,
        controllers_obey_what_is_not_committed,
        controllers_obey_whatever_comes_last,
        commands_are_rewritten_when_sent_again,
    )
}
