"""What a source partition becomes and how far it is done, in one transaction; fenced by the broker.

The place is kept as an offset of a group of its own, which nobody joins. The group that reads the partition commits
offsets too, by itself and later: were they kept under one name, a commit that was held up on its way would undo a newer
one, and what stands behind it would be sent twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from faust.types import TP

from streams.appender import ANY_PARTITION
from streams.places import committed, observer
from streams.transactions import ATTEMPTS, CALL_TIMEOUT_S, Outgoing, Transactor


class SourceTransactor(Transactor):
    """Publishes what one source partition becomes, on any topics and partitions. All calls block; use one thread.

    keeper  the group that keeps the place; others may have committed what was done without a transaction
    """

    who = "resolver"

    def __init__(self, bootstrap: str, transactional_id: str, source: TP, keeper: str, *others: str) -> None:
        super().__init__(bootstrap, transactional_id, source.partition)
        self._source = source
        self._others = [observer(bootstrap, group) for group in others]
        self._keeper = observer(bootstrap, keeper)
        self._done, self._log = 0, ""

    def place(self, log: str) -> int | None:
        """The next offset that is not done, None: nothing is. Only once it is open: the former owner cannot move it.

        log  UUID of the source's topic: places are of it from now on, and those of another of its name do not count
        """
        self._log = log
        known = [committed(consumer, self._source, log) for consumer in (self._keeper, *self._others)]
        return max((offset for offset in known if offset is not None), default=None)

    def publish_up_to(self, records: Sequence[Outgoing], done: int) -> None:
        """Publishes records, and that the source is done up to an offset. Raises as publish."""
        self._done = done
        self.publish(records)

    def close(self) -> None:
        for consumer in (self._keeper, *self._others):
            consumer.close()

    def _produce(self, record: Outgoing) -> None:
        self._producer.produce(
            record.topic,
            record.value,
            record.key,
            partition=ANY_PARTITION,
            headers=list(record.headers),
            timestamp=record.timestamp_ms,
            on_delivery=self._report,
        )

    def _commit(self) -> None:
        self._send_place()
        super()._commit()

    def _send_place(self) -> None:
        place = TopicPartition(self._source.topic, self._source.partition, self._done, self._log)
        for attempt in range(ATTEMPTS):
            try:
                metadata = self._keeper.consumer_group_metadata()
                self._producer.send_offsets_to_transaction([place], metadata, CALL_TIMEOUT_S)
                return
            except KafkaException as error:
                fault: KafkaError = error.args[0]
                if not fault.retriable() or attempt == ATTEMPTS - 1:
                    raise

    def _timed(self) -> AbstractContextManager[object]:
        """That figure tells how long commands take."""
        return nullcontext()
