"""Bugs on the way out of the judge: transactions, cursors, fences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from stoploss.errors import Fenced
from stoploss.state import Cursor
from streams import partition_judge, snapshot_store, transactions
from streams.transactions import Outgoing
from tests.simulation import producer
from tests.simulation.bugs.planting import Bug, replaced


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


class _Aborted(Exception):
    """The transaction was aborted; nothing of it is to be seen."""


def steps_again_after_an_abort() -> AbstractContextManager[None]:
    """After an abortable error the records are folded again, into a state that has folded them already."""
    judge = partition_judge.PartitionJudge.judge

    def publish(self: Any, outgoing: Sequence[Outgoing]) -> None:
        try:
            self._attempt(outgoing)
        except KafkaException as error:
            self._raise_if_final(error.args[0], 0)
            self._producer.abort_transaction()
            raise _Aborted from error

    def again(self: Any, records: Any) -> None:
        before = self._state.offset
        try:
            judge(self, records)
        except _Aborted:
            self._state.offset = before
            again(self, records)

    @contextmanager
    def both() -> Iterator[None]:
        with (
            replaced(transactions.Transactor, "publish", publish),
            replaced(partition_judge.PartitionJudge, "judge", again),
        ):
            yield

    return both()


def publishes_without_a_transaction() -> AbstractContextManager[None]:
    """Outputs are records like others: a crash among them leaves half."""

    def publish(self: Any, outgoing: list[Outgoing], touched: dict[str, Cursor]) -> None:
        for record in outgoing:
            headers = [(name, value or b"") for name, value in record.headers]
            self._appender.append(record.topic, record.value, key=record.key, partition=self.partition, headers=headers)
        _write_cursors(self, touched)

    return replaced(partition_judge.PartitionJudge, "_publish", publish)


BUGS: tuple[Bug, ...] = (
    cursor_after_the_outputs,
    cursor_before_the_outputs,
    snapshot_before_the_outputs,
    initialises_again_after_a_fence,
    reads_before_it_fences,
    sends_again_after_a_lost_commit,
    gives_up_after_an_abort,
    steps_again_after_an_abort,
    publishes_without_a_transaction,
)
