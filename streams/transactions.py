"""The judge's outputs: one transactional producer per ledger partition, fenced by the broker.

Opening it fences whoever judged the partition before. A batch of outputs is published whole or not at all; after an
abortable error the same bytes are sent again, after an unknown outcome only the commit is repeated, and once another
has taken over this process ends: opening anew would fence the rightful owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import ClassVar, NoReturn

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from stoploss.errors import DeliveryFailed, Fenced
from stoploss.kafka import connection
from streams.measuring import TRANSACTION
from streams.reports import OR_ANEW, Places

Headers = Sequence[tuple[str, bytes | None]]
TRANSACTION_TIMEOUT_MS = 10_000
CALL_TIMEOUT_S = 30.0
ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record of a transaction; the judge's goes to its ledger partition, under the time at which it is sent.

    timestamp_ms  of a record that keeps the one with which its original came; 0: none
    """

    topic: str
    key: bytes
    value: bytes
    headers: Headers = ()
    timestamp_ms: int = 0


class Transactor:
    """Publishes outputs of one ledger partition. All calls block; use it from one thread."""

    who: ClassVar[str] = "judge"

    def __init__(self, bootstrap: str, transactional_id: str, partition: int) -> None:
        self.transactional_id, self.partition = transactional_id, partition
        self._producer = Producer(
            {
                **connection(bootstrap),
                "transactional.id": transactional_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "linger.ms": 0,
                "acks": "all",
                "compression.type": "lz4",
                "log_level": 0,
            }
        )
        self._failed: str | None = None
        self._taken_for_repeats = False
        self._fenced = False
        self._places = Places()

    def open(self) -> None:
        """Fences the previous owner; call before any state is read."""
        self._call("init_transactions", CALL_TIMEOUT_S)

    def publish(self, records: Sequence[Outgoing]) -> None:
        """Returns once all records are committed. Raises Fenced, or DeliveryFailed when the broker will not have it."""
        if self._fenced:
            self._raise_fenced()
        for attempt in range(ATTEMPTS):
            try:
                with self._timed():
                    self._attempt(records)
                return
            except KafkaException as error:
                fault: KafkaError = error.args[0]
                self._raise_if_final(fault, attempt)
                self._call("abort_transaction", CALL_TIMEOUT_S)
        raise DeliveryFailed(f"a transaction of {self.transactional_id} failed {ATTEMPTS} times")

    def _attempt(self, records: Sequence[Outgoing]) -> None:
        self._failed = None
        self._producer.begin_transaction()
        for record in records:
            self._produce(record)
        with suppress(SystemError):  # a fatal error among reports, of which Python lost the words: the commit has them
            self._producer.flush(CALL_TIMEOUT_S)
        if self._taken_for_repeats:
            raise DeliveryFailed(f"{self.transactional_id}: a record was taken for a repeat, {OR_ANEW}")
        self._commit()

    def _produce(self, record: Outgoing) -> None:
        self._producer.produce(
            record.topic,
            record.value,
            record.key,
            partition=self.partition,
            headers=list(record.headers),
            on_delivery=self._report,
        )

    def _timed(self) -> AbstractContextManager[object]:
        return TRANSACTION.time()

    def _commit(self) -> None:
        """A commit whose outcome is unknown is repeated as it is: the broker knows what became of it."""
        for attempt in range(ATTEMPTS):
            try:
                self._producer.commit_transaction(CALL_TIMEOUT_S)
                return
            except KafkaException as error:
                fault: KafkaError = error.args[0]
                if not fault.retriable() or attempt == ATTEMPTS - 1:
                    raise

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed = f"{message.topic()}: {error.str()}"
        elif self._places.is_repeat(message):
            self._taken_for_repeats = True

    def _raise_if_final(self, fault: KafkaError, attempt: int) -> None:
        if fault.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH):
            self._raise_fenced()
        if fault.fatal() or not fault.txn_requires_abort() or attempt == ATTEMPTS - 1:
            detail = f" ({self._failed})" if self._failed else ""
            raise DeliveryFailed(f"{self.transactional_id}: {fault.str()}{detail}")

    def _raise_fenced(self) -> NoReturn:
        """A broker that was started anew in mid-transaction answers the same as to one who was replaced."""
        self._fenced = True
        replaced = f"another {self.who} has taken over partition {self.partition}"
        raise Fenced(f"{self.transactional_id}: {replaced}, or a broker that was started anew ended its transaction")

    def _call(self, name: str, *args: float) -> None:
        try:
            getattr(self._producer, name)(*args)
        except KafkaException as error:
            fault: KafkaError = error.args[0]
            self._raise_if_final(fault, ATTEMPTS - 1)
