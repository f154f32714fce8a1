"""The reader of a worker's partitions, on a real Kafka: it gives what was asked for, from where it was asked for."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from faust.types import TP

from streams.batches import offset_of
from streams.fetching import Fetched, Fetcher
from streams.member import Limits

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

PARTITIONS, RECORDS = 3, 4_000
PATIENCE_S = 30.0


class Kafka(Protocol):
    bootstrap: str


def made(kafka: Kafka, partitions: int) -> str:
    """A new topic."""
    name = f"fetching-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result()
    return name


@pytest.fixture(scope="module")
def topic(kafka: Kafka) -> str:
    """Records of each partition whose value is their offset."""
    name = made(kafka, PARTITIONS)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True})
    for offset in range(RECORDS):
        for partition in range(PARTITIONS):
            producer.produce(name, str(offset).encode(), partition=partition)
    producer.flush()
    return name


@pytest.fixture
def fetcher(kafka: Kafka) -> Iterator[Fetcher]:
    reader = Fetcher(kafka.bootstrap, f"group-{uuid.uuid4().hex[:8]}", Limits())
    yield reader
    reader.close()


def fetched(fetcher: Fetcher, positions: Mapping[TP, int], anew: Collection[TP] = ()) -> Fetched:
    """What comes first, within reason."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if found := fetcher.fetch(positions, anew, 1.0):
            return found
        anew = ()
    raise AssertionError(f"nothing came from {positions}")


def test_wherever_it_is_sent_it_reads_from_there_without_a_hole_or_a_repeat(fetcher: Fetcher, topic: str) -> None:
    """Positions jump, partitions are left out and come back, and what was read ahead from elsewhere is never given."""
    chance = random.Random(5)
    next_offsets = {TP(topic, partition): 0 for partition in range(PARTITIONS)}
    anew: set[TP] = set()
    for _ in range(150):
        chosen = chance.sample(sorted(next_offsets), chance.randint(1, PARTITIONS))
        for tp in chosen:
            if chance.random() < 0.4 or next_offsets[tp] >= RECORDS:
                next_offsets[tp] = chance.randrange(RECORDS)
                anew.add(tp)
        found = fetched(fetcher, {tp: next_offsets[tp] for tp in chosen}, anew & set(chosen))
        anew -= set(chosen)
        assert found.keys() <= set(chosen)
        for tp, messages in found.items():
            offsets = [offset_of(message) for message in messages]
            assert offsets == list(range(next_offsets[tp], next_offsets[tp] + len(offsets)))
            assert [message.value() for message in messages] == [str(offset).encode() for offset in offsets]
            next_offsets[tp] = offsets[-1] + 1


def test_what_was_read_but_not_handed_over_is_read_again_when_asked(fetcher: Fetcher, topic: str) -> None:
    here = TP(topic, 0)
    first = fetched(fetcher, {here: 100})[here]
    again = fetched(fetcher, {here: 100}, [here])[here]
    assert [offset_of(first[0]), offset_of(again[0])] == [100, 100]


def test_of_no_partitions_nothing_is_read(fetcher: Fetcher, topic: str) -> None:
    here = TP(topic, 0)
    fetched(fetcher, {here: 0})
    assert fetcher.fetch({}, [], 0.5) == {}
    assert offset_of(fetched(fetcher, {here: 7})[here][0]) == 7


def test_the_end_of_the_log_is_known_once_something_was_read(fetcher: Fetcher, topic: str) -> None:
    here, other = TP(topic, 1), TP(topic, 2)
    fetched(fetcher, {here: RECORDS - 1})
    assert (fetcher.highwater(here), fetcher.highwater(other)) == (RECORDS, None)


def test_where_a_log_ends_is_told_at_once_while_a_fetch_waits(kafka: Kafka, fetcher: Fetcher) -> None:
    """confluent-kafka lets one call at a time into a consumer: the event loop stood still until the fetch was over."""
    here = TP(made(kafka, 1), 0)
    fetcher.fetch({here: 0}, [], 0.5)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(fetcher.fetch, {here: 0}, [], 2.0)
        time.sleep(0.2)
        assert (fetcher.highwater(here), waiting.done()) == (0, False)
        assert waiting.result() == {}


def test_what_is_not_committed_is_not_read(kafka: Kafka, fetcher: Fetcher) -> None:
    name = made(kafka, 1)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": name})
    producer.init_transactions()
    for value, end in ((b"taken back", producer.abort_transaction), (b"kept", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(name, value)
        producer.flush()
        assert fetcher.fetch({TP(name, 0): 0}, [TP(name, 0)], 0.5) == {}
        end()
    [message] = fetched(fetcher, {TP(name, 0): 0})[TP(name, 0)]
    assert (message.value(), offset_of(message)) == (b"kept", 2)
