"""How far a consumer group is, asked from outside of it."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from faust.types import TP

from stoploss.kafka import connection
from streams.batches import counts_for
from streams.transactions import CALL_TIMEOUT_S

# What a broker answers that has just been started, or has just become the group's.
NO_COORDINATOR_YET = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
)


def observer(bootstrap: str, group: str) -> Consumer:
    """Asks for a group's offsets, and never joins it. Where a transaction is about to move them it waits."""
    return Consumer(
        {
            **connection(bootstrap),
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )


def committed(consumer: Consumer, source: TP, log: str | None = None) -> int | None:
    """The next offset that an observer's group has not done; None: it has committed none.

    log  UUID of the topic: what was committed of another topic of its name does not count; None: whichever it was
    Asks again while the group's coordinator is on the move; raises KafkaException where it stays away.
    """
    deadline_s = time.monotonic() + CALL_TIMEOUT_S
    while True:
        try:
            [found] = consumer.committed([TopicPartition(source.topic, source.partition)], timeout=CALL_TIMEOUT_S)
            if found.error is not None:
                raise KafkaException(found.error)
            counts = found.offset >= 0 and (log is None or counts_for(log, found.metadata))
            return found.offset if counts else None
        except KafkaException as error:
            fault: KafkaError = error.args[0]
            if fault.code() not in NO_COORDINATOR_YET or time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)
