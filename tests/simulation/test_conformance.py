"""The fake broker behaves as the real one: the same claims, by the same clients, on both.

What the real one cannot be made to do at will is not here: jumps of its clock, a commit whose answer is lost.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import confluent_kafka
import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from faust.types import TP

from stoploss.errors import DeliveryFailed, Fenced
from streams.admin import Admin
from streams.appender import Appender
from streams.reading import reader, watermarks, whole
from streams.source_transactions import SourceTransactor
from streams.transactions import Outgoing, Transactor
from tests.simulation import now
from tests.simulation.processes import Process
from tests.simulation.producer import SimProducer
from tests.simulation.seams import simulated
from tests.simulation.world import World

COMPACTED_AT_ONCE = {
    "cleanup.policy": "compact",
    "segment.ms": "200",
    "min.cleanable.dirty.ratio": "0.0",
    "max.compaction.lag.ms": "1000",
}
PATIENCE_S = 90.0
UUID = "the topic"


class Side(Protocol):
    """A broker, and how it is made to do something."""

    bootstrap: str

    def create(self, topic: str, **config: str) -> None: ...
    def delete(self, topic: str) -> None: ...
    def producer(self, **config: Any) -> Any: ...
    def wait(self, until: Callable[[], bool]) -> None:
        """Until the broker has done by itself what it does now and then."""
        ...


class Real:
    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def create(self, topic: str, **config: str) -> None:
        self._admin.create_topics([NewTopic(topic, 1, 1, config=config)])[topic].result(30)
        while topic not in self._admin.list_topics(timeout=10).topics:
            time.sleep(0.05)

    def delete(self, topic: str) -> None:
        self._admin.delete_topics([topic])[topic].result(30)
        while topic in self._admin.list_topics(timeout=10).topics:
            time.sleep(0.05)

    def producer(self, **config: Any) -> Any:
        return confluent_kafka.Producer({"bootstrap.servers": self.bootstrap, "log_level": 0, **config})

    def wait(self, until: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not until():
            assert time.monotonic() < deadline_s
            time.sleep(0.2)


class Simulated:
    bootstrap = "simulated"

    def __init__(self, world: World) -> None:
        self.world = world

    def create(self, topic: str, **config: str) -> None:
        largest = int(config.get("max.message.bytes", 1_048_588))
        compacts = config.get("cleanup.policy") == "compact"
        self.world.broker.create(topic, 1, compacts=compacts, largest_bytes=largest)

    def delete(self, topic: str) -> None:
        self.world.broker.delete(topic)

    def producer(self, **config: Any) -> Any:
        return SimProducer(config)

    def wait(self, until: Callable[[], bool]) -> None:
        for topic in self.world.broker.topics.values():
            for log in topic.logs if topic.compacts else ():
                log.compact()
        self.world.pass_time(20_000_000)
        assert until()


@pytest.fixture(params=["simulated", pytest.param("kafka", marks=pytest.mark.kafka)])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    if request.param == "kafka":
        yield Real(request.getfixturevalue("kafka").bootstrap)
        return
    world = World(0)
    world.broker.slow_markers = False
    now.enter(world)
    world.stack.append((Process(world, "test", 0), None))
    with simulated():
        yield Simulated(world)
    now.leave()


@pytest.fixture
def topic(side: Side) -> str:
    name = f"t{uuid.uuid4().hex[:10]}"
    side.create(name)
    return name


def owner(side: Side, name: str) -> Transactor:
    transactor = Transactor(side.bootstrap, name, 0)
    transactor.open()
    return transactor


def owner_of(side: Side, source: str, name: str) -> SourceTransactor:
    transactor = SourceTransactor(side.bootstrap, name, TP(source, 0), f"{name}-place")
    transactor.open()
    return transactor


def transactional(side: Side, name: str) -> Any:
    producer = side.producer(**{"transactional.id": name})
    producer.init_transactions(30)
    return producer


def begun(side: Side, topic: str, name: str, value: bytes = b"open") -> Any:
    """A producer in the middle of a transaction, whose record has reached the broker."""
    producer = transactional(side, name)
    producer.begin_transaction()
    producer.produce(topic, value, b"k", partition=0)
    assert producer.flush(30) == 0
    return producer


def records_of(topic: str, *values: bytes) -> list[Outgoing]:
    return [Outgoing(topic, b"k", value) for value in values]


def plainly(side: Side, topic: str, *values: bytes, key: bytes = b"k") -> None:
    producer = side.producer()
    for value in values:
        producer.produce(topic, value, key, partition=0)
    assert producer.flush(30) == 0


def committed(side: Side, topic: str) -> list[tuple[int, bytes]]:
    return [(message.offset() or 0, message.value() or b"") for message in whole(side.bootstrap, topic)]


def uncommitted(side: Side, topic: str, count: int) -> list[bytes]:
    """The first so many records, by a reader that does not wait for commits."""
    loose = reader(side.bootstrap, **{"isolation.level": "read_uncommitted"})
    loose.assign([TopicPartition(topic, 0, 0)])
    found: list[bytes] = []
    deadline_s = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < deadline_s:
        message = loose.poll(1)
        if message is not None and message.error() is None:
            found.append(message.value() or b"")
    loose.close()
    return found


def stable_end(side: Side, topic: str) -> int:
    careful = reader(side.bootstrap)
    try:
        return watermarks(careful, topic, 0)[1]
    finally:
        careful.close()


def test_an_empty_topic_ends_at_once(side: Side, topic: str) -> None:
    assert committed(side, topic) == []


def test_a_committed_transaction_is_read_whole_and_its_marker_takes_an_offset(side: Side, topic: str) -> None:
    transactor = owner(side, f"{topic}-a")
    transactor.publish(records_of(topic, b"1", b"2"))
    transactor.publish(records_of(topic, b"3"))
    assert committed(side, topic) == [(0, b"1"), (1, b"2"), (3, b"3")]


def test_an_aborted_transaction_is_a_hole_for_careful_readers_and_seen_by_others(side: Side, topic: str) -> None:
    producer = begun(side, topic, f"{topic}-a", b"taken back")
    producer.abort_transaction(30)
    while stable_end(side, topic) < 2:  # a broker answers before the marker stands there
        time.sleep(0.01)
    plainly(side, topic, b"after")
    assert committed(side, topic) == [(2, b"after")]
    assert uncommitted(side, topic, 2) == [b"taken back", b"after"]


def test_an_open_transaction_hides_what_comes_behind_it_until_it_ends(side: Side, topic: str) -> None:
    plainly(side, topic, b"before")
    hung = begun(side, topic, f"{topic}-a")
    plainly(side, topic, b"behind")
    assert committed(side, topic) == [(0, b"before")]
    assert stable_end(side, topic) == 1
    assert uncommitted(side, topic, 3) == [b"before", b"open", b"behind"]
    hung.commit_transaction(30)
    side.wait(lambda: committed(side, topic) == [(0, b"before"), (1, b"open"), (2, b"behind")])


def test_a_second_owner_fences_the_first_and_aborts_what_it_had_begun(side: Side, topic: str) -> None:
    first = begun(side, topic, f"{topic}-a", b"half of it")
    second = owner(side, f"{topic}-a")
    second.publish(records_of(topic, b"of the second"))
    first.produce(topic, b"of a zombie", b"k", partition=0)
    with pytest.raises(KafkaException) as refused:
        first.commit_transaction(30)
    assert refused.value.args[0].fatal()
    assert [value for _, value in committed(side, topic)] == [b"of the second"]


def test_a_fenced_transactor_says_so_and_its_successor_goes_on(side: Side, topic: str) -> None:
    first = owner(side, f"{topic}-a")
    second = owner(side, f"{topic}-a")
    with pytest.raises(Fenced):
        first.publish(records_of(topic, b"of a zombie"))
    second.publish(records_of(topic, b"of the second"))
    assert [value for _, value in committed(side, topic)] == [b"of the second"]


def test_owners_of_different_names_do_not_fence_each_other(side: Side, topic: str) -> None:
    first, second = owner(side, f"{topic}-a"), owner(side, f"{topic}-b")
    first.publish(records_of(topic, b"1"))
    second.publish(records_of(topic, b"2"))
    first.publish(records_of(topic, b"3"))
    assert [value for _, value in committed(side, topic)] == [b"1", b"2", b"3"]


def test_a_place_is_kept_with_what_was_published_up_to_it(side: Side, topic: str) -> None:
    first = owner_of(side, topic, f"{topic}-a")
    assert first.place(UUID) is None
    first.publish_up_to(records_of(topic, b"1"), 7)
    second = owner_of(side, topic, f"{topic}-a")
    assert second.place(UUID) == 7
    with pytest.raises(Fenced):
        first.publish_up_to(records_of(topic, b"of a zombie"), 9)
    assert owner_of(side, topic, f"{topic}-a").place(UUID) == 7
    assert [value for _, value in committed(side, topic)] == [b"1"]


def test_a_place_in_another_topic_of_that_name_is_none(side: Side, topic: str) -> None:
    first = owner_of(side, topic, f"{topic}-a")
    assert first.place(UUID) is None
    first.publish_up_to(records_of(topic, b"1"), 7)
    successor = owner_of(side, topic, f"{topic}-a")
    assert successor.place("another") is None
    successor.publish_up_to(records_of(topic, b"2"), 3)
    assert (successor.place("another"), successor.place(UUID)) == (3, None)


def test_a_place_without_the_name_of_its_log_counts(side: Side, topic: str) -> None:
    """A version before has kept it."""
    before = owner_of(side, topic, f"{topic}-a")
    before.publish_up_to(records_of(topic, b"1"), 7)
    assert owner_of(side, topic, f"{topic}-a").place(UUID) == 7


def test_a_place_does_not_move_with_what_was_taken_back(side: Side, topic: str) -> None:
    transactor = owner_of(side, topic, f"{topic}-a")
    transactor.publish_up_to(records_of(topic, b"1"), 7)
    with pytest.raises(DeliveryFailed):
        transactor.publish_up_to(records_of(small(side, topic), bytes(range(256)) * 20), 9)
    assert owner_of(side, topic, f"{topic}-a").place(UUID) == 7


def test_a_record_keeps_the_stamp_with_which_its_original_came(side: Side, topic: str) -> None:
    then_ms = 1_700_000_000_000
    owner_of(side, topic, f"{topic}-a").publish_up_to([Outgoing(topic, b"k", b"1", timestamp_ms=then_ms)], 1)
    assert [message.timestamp()[1] for message in whole(side.bootstrap, topic)] == [then_ms]


def small(side: Side, topic: str) -> str:
    """A topic that takes small records only."""
    side.create(f"{topic}-small", **{"max.message.bytes": "200"})
    return f"{topic}-small"


def test_a_transaction_of_which_one_record_is_refused_is_not_seen_at_all(side: Side, topic: str) -> None:
    transactor, narrow = owner(side, f"{topic}-a"), small(side, topic)
    with pytest.raises(DeliveryFailed):
        transactor.publish([*records_of(topic, b"with it"), *records_of(narrow, bytes(range(256)) * 20)])
    assert committed(side, topic) == []


def test_behind_a_refused_record_an_appender_delivers_nothing(side: Side, topic: str) -> None:
    appender, narrow = Appender(side.bootstrap), small(side, topic)
    appender.append(narrow, b"first", partition=0)
    appender.flush()
    with pytest.raises(DeliveryFailed):
        send_behind_a_refused_one(appender, narrow)
    assert [value for _, value in committed(side, narrow)] == [b"first"]


def send_behind_a_refused_one(appender: Appender, topic: str) -> None:
    appender.append(topic, bytes(range(256)) * 20, partition=0)
    for _ in range(20):
        appender.append(topic, b"later", partition=0)
    appender.flush()


def test_a_topic_that_is_made_again_has_another_uuid_and_begins_at_0(side: Side, topic: str) -> None:
    admin = Admin(side.bootstrap)
    plainly(side, topic, b"1", b"2")
    before = admin.uuids([topic])
    side.delete(topic)
    side.create(topic)
    assert admin.uuids([topic]) != before
    plainly(side, topic, b"3")
    assert committed(side, topic) == [(0, b"3")]


@pytest.mark.slow
def test_a_transaction_that_is_left_open_is_aborted_and_its_owner_fenced(side: Side, topic: str) -> None:
    hung = begun(side, topic, f"{topic}-a")
    plainly(side, topic, b"behind")
    side.wait(lambda: committed(side, topic) == [(1, b"behind")])
    hung.produce(topic, b"too late", b"k", partition=0)
    with pytest.raises(KafkaException):
        hung.commit_transaction(30)
    assert [value for _, value in committed(side, topic)] == [b"behind"]


@pytest.mark.slow
def test_compaction_keeps_the_last_of_each_key_where_it_stood(side: Side, topic: str) -> None:
    side.create(f"{topic}-compact", **COMPACTED_AT_ONCE)
    for round_ in range(3):
        plainly(side, f"{topic}-compact", b"%d" % round_, key=b"a")
    plainly(side, f"{topic}-compact", b"b", key=b"b")
    plainly(side, f"{topic}-compact", b"c", key=b"c")

    def compacted() -> bool:
        plainly(side, f"{topic}-compact", b"newest", key=b"n")
        found = committed(side, f"{topic}-compact")
        return [offset for offset, _ in found][:3] == [2, 3, 4]

    side.wait(compacted)
