"""Reading a topic whole, without a group: for what a worker must know before it begins."""

from __future__ import annotations

import time
from collections.abc import Generator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from stoploss.errors import ConfigurationError
from stoploss.kafka import connection

LOAD_TIMEOUT_S = 30.0
# What a broker answers about a topic that was made a moment ago, and of which it has just become the leader again.
NO_LEADER_YET = (
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
)


def reader(bootstrap: str, **config: object) -> Consumer:
    """A consumer of its own: no group to speak of, committed records only, quick to give what is there."""
    return Consumer(
        {
            **connection(bootstrap),
            "group.id": "stoploss-reader",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "fetch.queue.backoff.ms": 1,
            "log_level": 0,  # librdkafka writes to stderr; who reads is told by errors
            **config,
        }
    )


def partitions_from_start(consumer: Consumer, topic: str) -> list[TopicPartition]:
    """All partitions of a topic, at their first record."""
    try:
        found = consumer.list_topics(topic, timeout=LOAD_TIMEOUT_S).topics[topic]
    except KafkaException as error:
        fault: KafkaError = error.args[0]
        raise ConfigurationError(f"topic {topic} cannot be read: {fault.str()}; is Kafka up?") from error
    if found.error is not None:
        raise ConfigurationError(f"topic {topic} cannot be read: {found.error.str()}; create it: stoploss topics")
    starts = []
    for partition in sorted(found.partitions):
        starts.append(TopicPartition(topic, partition, watermarks(consumer, topic, partition)[0]))
    return starts


def ends(consumer: Consumer, topic: str) -> list[TopicPartition]:
    """All partitions of a topic, behind their last record."""
    starts = partitions_from_start(consumer, topic)
    return [TopicPartition(topic, s.partition, watermarks(consumer, topic, s.partition)[1]) for s in starts]


def watermarks(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """First offset and the one behind the last; asks again while a topic that was just made has no leader yet."""
    deadline_s = time.monotonic() + LOAD_TIMEOUT_S
    while True:
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=LOAD_TIMEOUT_S)
            return int(low), int(high)
        except KafkaException as error:
            fault: KafkaError = error.args[0]
            if fault.code() not in NO_LEADER_YET or time.monotonic() > deadline_s:
                raise ConfigurationError(f"topic {topic} cannot be read: {fault.str()}") from error
            time.sleep(0.1)


def whole(
    bootstrap: str, topic: str, partition: int | None = None, *, since_ms: int | None = None
) -> Generator[Message, None, None]:
    """Every committed record of a topic, or of one partition of it, up to its end as of now.

    since_ms  only records of this time and later, as the topic stamps them
    """
    consumer = reader(bootstrap, **{"enable.partition.eof": True})
    try:
        starts = [s for s in partitions_from_start(consumer, topic) if partition in (None, s.partition)]
        if since_ms is not None:
            times = [TopicPartition(topic, start.partition, since_ms) for start in starts]
            starts = consumer.offsets_for_times(times, LOAD_TIMEOUT_S)
        waiting = {start.partition for start in starts}
        consumer.assign(starts)
        while waiting:
            message = consumer.poll(LOAD_TIMEOUT_S)
            if message is None:
                raise ConfigurationError(f"topic {topic} could not be read to its end within {LOAD_TIMEOUT_S:.0f} s")
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                waiting.discard(message.partition() or 0)
            else:
                raise KafkaException(error)
    finally:
        consumer.close()


def record_at(bootstrap: str, topic: str, partition: int, offset: int) -> Message | None:
    """The committed record at an offset; None where there is none any more, or yet."""
    consumer = reader(bootstrap, **{"enable.partition.eof": True})
    try:
        known = {start.partition: start.offset for start in partitions_from_start(consumer, topic)}
        if partition not in known or not known[partition] <= offset < watermarks(consumer, topic, partition)[1]:
            return None
        consumer.assign([TopicPartition(topic, partition, offset)])
        message = consumer.poll(LOAD_TIMEOUT_S)
        return message if message is not None and message.error() is None and message.offset() == offset else None
    finally:
        consumer.close()


def newest_timestamp_ms(bootstrap: str, topic: str) -> int | None:
    """The broker's time of the newest record of a topic, milliseconds; None where it has none."""
    consumer = reader(bootstrap)
    newest: int | None = None
    try:
        for start in partitions_from_start(consumer, topic):
            low, high = watermarks(consumer, topic, start.partition)
            if high == low:
                continue
            consumer.assign([TopicPartition(topic, start.partition, high - 1)])
            message = consumer.poll(5)
            if message is not None and message.error() is None:
                newest = max(newest or 0, message.timestamp()[1])
    finally:
        consumer.close()
    return newest
