"""The reader of a worker's partitions: librdkafka, which unpacks records outside the interpreter's lock.

Membership and commits are aiokafka's (member.py); its own fetching is never used. Partitions are assigned here by hand,
each at the offset that the book of its batches names, so a position is never moved, only set anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from faust.types import TP

from stoploss.kafka import connection
from streams.member import Limits

Fetched = dict[TP, list[Message]]

MOST_RECORDS = 50_000

# What librdkafka tells and gets over by itself: it goes on asking for the leader.
PASSING = (
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
)


class Fetcher:
    """Records of partitions that are assigned by hand. Calls of one thread at a time, but for highwater.

    group  whose rights it reads with; it never joins it
    """

    def __init__(self, bootstrap: str, group: str, limits: Limits) -> None:
        self._consumer = Consumer(
            {
                **connection(bootstrap),
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": limits.isolation,
                "auto.offset.reset": "earliest",
                "check.crcs": True,
                "fetch.wait.max.ms": limits.fetch_max_wait_ms,
                "fetch.queue.backoff.ms": 1,
                "reconnect.backoff.max.ms": 1_000,
                # A topic that was made again is found after this, by default after five minutes.
                "topic.metadata.refresh.interval.ms": 5_000,
                "log_level": 0,  # librdkafka writes to stderr; what matters is raised
            }
        )
        self._reading: set[TP] = set()

    def fetch(self, positions: Mapping[TP, int], anew: Collection[TP], timeout_s: float) -> Fetched:
        """What is there of these partitions, and of no others; waits for the first record no longer than timeout_s.

        positions  the next offset of each
        anew       those whose position does not follow from what was fetched last
        Raises KafkaException for what does not pass by itself.
        """
        self._turn_to(positions, anew)
        found = self._consumer.consume(1, timeout_s)
        if found:
            found += self._consumer.consume(MOST_RECORDS, 0)
        by_partition: dict[TP, list[Message]] = defaultdict(list)
        for message in found:
            if (error := message.error()) is None:
                by_partition[message.topic(), message.partition()].append(message)  # type: ignore[index]
            elif error.code() not in PASSING:
                raise KafkaException(error)
        return {TP(*tp): messages for tp, messages in by_partition.items()}

    def _turn_to(self, positions: Mapping[TP, int], anew: Collection[TP]) -> None:
        leaving = [tp for tp in self._reading if tp not in positions or tp in anew]
        if leaving:
            self._consumer.incremental_unassign([TopicPartition(*tp) for tp in leaving])
            self._reading.difference_update(leaving)
        joining = [TopicPartition(*tp, offset) for tp, offset in positions.items() if tp not in self._reading]
        if joining:
            self._consumer.incremental_assign(joining)
            self._reading.update(positions)

    def highwater(self, tp: TP) -> int | None:
        """Where the log ended as of the last fetch; None: nothing was fetched of it. From any thread."""
        _, end = self._consumer.get_watermark_offsets(TopicPartition(*tp), cached=True)
        return None if end < 0 else end

    def close(self) -> None:
        self._consumer.close()
