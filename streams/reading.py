"""Reading a topic whole, without a group: for what a worker must know before it begins."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from stoploss.errors import ConfigurationError

LOAD_TIMEOUT_S = 30.0


def reader(bootstrap: str, **config: object) -> Consumer:
    """A consumer of its own: no group to speak of, committed records only, quick to give what is there."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "stoploss-reader",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "fetch.queue.backoff.ms": 1,
            "log_level": 3,
            **config,
        }
    )


def partitions_from_start(consumer: Consumer, topic: str) -> list[TopicPartition]:
    """All partitions of a topic, at their first record."""
    found = consumer.list_topics(topic, timeout=LOAD_TIMEOUT_S).topics[topic]
    if found.error is not None:
        raise ConfigurationError(f"topic {topic} cannot be read: {found.error.str()}; create it: stoploss topics")
    starts = []
    for partition in sorted(found.partitions):
        low, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=LOAD_TIMEOUT_S)
        starts.append(TopicPartition(topic, partition, low))
    return starts


def whole(bootstrap: str, topic: str, partition: int | None = None) -> Iterator[Message]:
    """Every committed record of a topic, or of one partition of it, up to its end as of now."""
    consumer = reader(bootstrap, **{"enable.partition.eof": True})
    try:
        starts = [s for s in partitions_from_start(consumer, topic) if partition in (None, s.partition)]
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


def newest_timestamp_ms(bootstrap: str, topic: str) -> int | None:
    """The broker's time of the newest record of a topic, milliseconds; None where it has none."""
    consumer = reader(bootstrap)
    newest: int | None = None
    try:
        for start in partitions_from_start(consumer, topic):
            where = TopicPartition(topic, start.partition)
            low, high = consumer.get_watermark_offsets(where, timeout=LOAD_TIMEOUT_S)
            if high == low:
                continue
            consumer.assign([TopicPartition(topic, start.partition, high - 1)])
            message = consumer.poll(5)
            if message is not None and message.error() is None:
                newest = max(newest or 0, message.timestamp()[1])
    finally:
        consumer.close()
    return newest
