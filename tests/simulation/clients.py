"""The readers and the admin client that streams/ and control/ make, on the fake broker: what is used of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from tests.simulation.broker import Log, Stored
from tests.simulation.now import running

if TYPE_CHECKING:
    from tests.simulation.processes import Process
    from tests.simulation.world import World


NOTHING = -1001
"""The offset that stands for none (librdkafka's OFFSET_INVALID)."""


def message_of(log: Log, record: Stored) -> Message:
    place = log.topic.name, log.partition, record.offset, record.key, record.value
    return Message(*place, headers=record.headers, timestamp=(2, record.timestamp_ms))


@dataclass(slots=True)
class PartitionMetadata:
    id: int


@dataclass(slots=True)
class TopicMetadata:
    partitions: dict[int, PartitionMetadata]
    error: KafkaError | None = None


@dataclass(slots=True)
class ClusterMetadata:
    topics: dict[str, TopicMetadata]


def metadata_of(world: World, names: Iterable[str]) -> ClusterMetadata:
    found = {}
    for name in names:
        topic = world.broker.topics.get(name)
        unknown = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "unknown topic") if topic is None else None
        logs = topic.logs if topic else []
        found[name] = TopicMetadata({log.partition: PartitionMetadata(log.partition) for log in logs}, unknown)
    return ClusterMetadata(found)


class SimReader:
    """confluent_kafka.Consumer without a group: partitions are assigned by hand.

    What runs in a thread of its own gives its turn back when a poll has nothing to give.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.world: World
        self.process: Process
        self.world, self.process = running()
        self.committed_only = config.get("isolation.level", "read_committed") == "read_committed"
        self.group = str(config.get("group.id", ""))
        self.tells_ends = bool(config.get("enable.partition.eof", False))
        self._positions: dict[tuple[str, int], int] = {}
        self._told: set[tuple[str, int]] = set()
        if (baton := self.world.stack[-1][1]) is not None:
            baton.readers.append(self)

    @property
    def has_more(self) -> bool:
        topics = self.world.broker.topics
        return any(
            topics[topic].logs[partition].has_more(position, committed=self.committed_only)
            for (topic, partition), position in self._positions.items()
        )

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
        self.world.effect(self.process, "list topics")
        return metadata_of(self.world, [topic] if topic else self.world.broker.topics)

    def get_watermark_offsets(self, at: TopicPartition, timeout: float = -1) -> tuple[int, int]:
        log = self.world.broker.topics[at.topic].logs[at.partition]
        return 0, log.stable_end if self.committed_only else log.end

    def offsets_for_times(self, times: Sequence[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        """From the beginning: a run of the simulation is shorter than anything that is asked for."""
        return [TopicPartition(at.topic, at.partition, 0) for at in times]

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self._positions = {(at.topic, at.partition): max(0, at.offset) for at in partitions}
        self._told.clear()

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        for at in partitions:
            self._positions.pop((at.topic, at.partition), None)

    def poll(self, timeout: float = -1) -> Message | None:
        self.world.effect(self.process, "poll")
        for at in self.world.shuffled(self._positions):
            log = self.world.broker.topics[at[0]].logs[at[1]]
            found, position = log.read(self._positions[at], committed=self.committed_only, most=1)
            self._positions[at] = position
            if found:
                self._told.discard(at)
                return message_of(log, found[0])
            if self.tells_ends and at not in self._told:
                self._told.add(at)
                return Message(*at, error=KafkaError(KafkaError._PARTITION_EOF))
        if (baton := self.world.stack[-1][1]) is not None:
            baton.pause()
        return None

    def committed(self, partitions: Sequence[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        """What its group has committed; raises KafkaException where a transaction is about to change it."""
        self.world.effect(self.process, "ask for offsets")
        if self.committed_only and any(self.world.broker.is_moving((self.group, *_at(one))) for one in partitions):
            raise KafkaException(KafkaError(KafkaError.UNSTABLE_OFFSET_COMMIT, "a transaction is under way"))
        known = self.world.broker.group(self.group)
        return [
            TopicPartition(*_at(one), known.committed.get(_at(one), NOTHING), known.logs.get(_at(one), ""))
            for one in partitions
        ]

    def consumer_group_metadata(self) -> str:
        return self.group

    def close(self) -> None:
        self._positions.clear()


def _at(one: TopicPartition) -> tuple[str, int]:
    return one.topic, one.partition


class SimAdmin:
    """confluent_kafka.admin.AdminClient, as far as running workers ask."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.world, self.process = running()

    def describe_topics(self, collection: Any) -> dict[str, Future[Any]]:
        return {name: self._described(name) for name in collection.topic_names}

    def _described(self, name: str) -> Future[Any]:
        future: Future[Any] = Future()
        topic = self.world.broker.topics.get(name)
        if topic is None:
            future.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "unknown topic")))
        else:
            future.set_result(Description(topic.uuid))
        return future

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
        return metadata_of(self.world, [topic] if topic else self.world.broker.topics)


@dataclass(slots=True)
class Description:
    topic_id: str
