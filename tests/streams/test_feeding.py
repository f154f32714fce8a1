"""From a source topic into the ledger on the real broker: rows, dead letters, frames for storage, and take-overs."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Message
from faust.types import TP

from stoploss import registry
from stoploss.evidence import block_columns
from stoploss.intake.pipeline import read_outcomes, read_traces
from stoploss.intake.tallies import MOST_NAMES_COUNTED
from stoploss.ledger import EvidenceBlock, Source, SourceStatus
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from stoploss.store.arrow import Clean, clean_from_bytes
from streams.admin import Admin
from streams.batches import Batch
from streams.feeding import CLEAN_BYTES, Feeder
from streams.measuring import UNREGISTERED
from streams.source_status import tell
from tests.installation import (
    Kafka,
    appending,
    create_topics,
    facts_of,
    letters_of,
    messages,
    settings_of,
    values,
)
from tests.intake.records import NAME, SALT, as_json, assigned, avro, experiment, outcome, trace

pytestmark = pytest.mark.kafka

HOME = 1
"""Ledger partition of the experiment."""
TOPICS = ("traces", "outcomes", "ledger", "registry", "traces_clean", "deadletter")


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Settings:
    """One experiment stands in the registry."""
    settings = settings_of(kafka, tmp_path)
    create_topics(settings, *TOPICS)
    found = experiment()
    entry = RegistryEntry(
        NAME, HOME, found_text(), found.spec_hash, "running", 1, 1, 1, "current", 0.5, (), None, changed_at=0, offset=0
    )
    appender = appending(settings)
    appender.append(settings.topics("registry"), registry.encode(entry), key=NAME.encode(), partition=HOME)
    appender.flush()
    return settings


def found_text() -> str:
    from tests.intake.records import SPEC

    return SPEC.replace("UNIT", "user")


@pytest.fixture
def feeder(settings: Settings) -> Iterator[Feeder]:
    feeder = Feeder(settings, "intake", {"traces": read_traces}, "traces", SALT)
    yield feeder
    feeder._registry.stop()


def now(**fields: object) -> dict[str, object]:
    """A trace of this moment; an old one is quarantined."""
    return trace(**{"at": time.time_ns() // 1_000, **fields})


def sent(settings: Settings, *values_: bytes, topic: str = "traces", partition: int = 0) -> Batch:
    """The values on their topic, and the batch that a worker is given of them."""
    appender = appending(settings)
    for value in values_:
        appender.append(settings.topics(topic), value, partition=partition)
    appender.flush()
    found, name = messages(settings, topic, partition), settings.topics(topic)
    return Batch(TP(name, partition), found[-len(values_) :], 1, Admin(settings.need_kafka()).uuid(name))


def feed(feeder: Feeder, *batches: Batch) -> None:
    feeder._publish(feeder._read(batches))


def blocks(settings: Settings) -> list[EvidenceBlock]:
    return [fact for fact in facts_of(settings, HOME) if isinstance(fact, EvidenceBlock)]


def offsets(settings: Settings) -> list[int]:
    """Source offsets of all evidence rows, in the order of the ledger."""
    return [offset for block in blocks(settings) for offset in block_columns(block).offset.tolist()]


def frames(settings: Settings) -> list[Clean]:
    return [clean_from_bytes(value) for value in values(settings, "traces_clean")]


def test_what_is_rejected_is_a_dead_letter_with_its_own_bytes_and_its_good_neighbours_arrive(
    settings: Settings, feeder: Feeder
) -> None:
    good = [avro(now(trace_id=f"t{n}")) for n in range(3)]
    truncated, negative = good[0][:-3], avro(now(trace_id="n", latency_ms=-1.0))
    feed(feeder, sent(settings, good[0], truncated, good[1], b"", negative, good[2]))
    assert offsets(settings) == [0, 2, 5]
    letters = letters_of(settings)
    by_offset = {letter.offset: (letter.value, letter.stage) for letter in letters}
    assert by_offset == {1: (truncated, "intake"), 3: (b"", "intake"), 4: (negative, "intake")}
    assert all(letter.reason for letter in letters)
    assert [frame.frame.height for frame in frames(settings)] == [3]


def test_a_record_cut_off_anywhere_is_a_dead_letter_and_never_the_end_of_the_worker(
    settings: Settings, feeder: Feeder
) -> None:
    """polars answers some of them with an OSError where others are a ComputeError or a panic."""
    whole = avro(now(trace_id="cut", tenant="acme", steps=[{"kind": "tool", "name": "search"}]))
    pieces = [whole[:size] for size in range(1, len(whole))]
    for piece in pieces:
        assert feeder._read([batch_with(settings, piece)])[0].result.rejects[0].value == piece


def batch_with(settings: Settings, value: bytes) -> Batch:
    """As it is fetched; it need not stand on the topic."""
    topic = settings.topics("traces")
    return Batch(TP(topic, 0), [Message(topic, 0, 0, value=value)], 1)


def test_rows_name_the_topic_by_its_uuid_and_stand_in_the_partition_of_their_experiment(
    settings: Settings, feeder: Feeder
) -> None:
    name = settings.topics("traces")
    feed(feeder, sent(settings, avro(now()), partition=1))
    (block,) = blocks(settings)
    assert block.sources == (Source(name, Admin(settings.need_kafka()).uuids([name])[name], 1),)
    assert values(settings, "ledger", 1 - HOME) == []
    assert [message.key() for message in messages(settings, "ledger", HOME)] == [NAME.encode()]


def test_what_has_gathered_is_one_block_and_each_source_stays_in_order(settings: Settings, feeder: Feeder) -> None:
    first = sent(settings, avro(now(trace_id="a")), avro(now(trace_id="b")))
    second = sent(settings, as_json({"trace_id": "c", "at": now()["at"], "assignments": [assigned()]}))
    other = sent(settings, avro(now(trace_id="d")), partition=1)
    feed(feeder, first, other, second)
    (block,) = blocks(settings)
    columns = block_columns(block)
    by_partition = {
        source.partition: columns.offset[columns.source == code].tolist() for code, source in enumerate(block.sources)
    }
    assert by_partition == {0: [0, 1, 2], 1: [0]}


def test_an_experiment_that_the_registry_does_not_know_is_stored_but_never_judged(
    settings: Settings, feeder: Feeder
) -> None:
    stranger = now(assignments=[assigned(name="nobody-knows-it")])
    read = feeder._read([sent(settings, avro(now()), avro(stranger))])
    feeder._publish(read)
    assert offsets(settings) == [0]
    assert dict(read[0].result.counts.unknown_experiment) == {"nobody-knows-it": 1}
    assert frames(settings)[0].frame.height == 2


def test_traces_of_an_experiment_that_nobody_registered_are_counted_by_its_name(feeder: Feeder) -> None:
    def counted(name: str) -> float:
        return UNREGISTERED.labels(name)._value.get()

    for traces in (3, 5):
        feeder._alarm({"never-heard-of": traces})
    feeder._alarm({})
    assert counted("never-heard-of") == 8
    feeder._alarm({f"name-{number}": 1 for number in range(2 * MOST_NAMES_COUNTED)})
    counted_now = [sample.labels["experiment"] for sample in next(iter(UNREGISTERED.collect())).samples]
    names = [name for name in counted_now if name.startswith("name-")]
    assert len(names) == MOST_NAMES_COUNTED - 1


def test_a_frame_that_is_too_large_for_a_record_is_cut_and_nothing_of_it_is_lost(
    settings: Settings, feeder: Feeder
) -> None:
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:-", np.uint8)
    rng = np.random.default_rng(1)
    texts = [rng.choice(letters, 60_000).tobytes().decode() for _ in range(40)]
    batch = sent(settings, *(avro(now(trace_id=f"t{n}", output_text=text)) for n, text in enumerate(texts)))
    feed(feeder, batch)
    stored = values(settings, "traces_clean")
    assert len(stored) > 2
    assert max(map(len, stored)) <= CLEAN_BYTES
    assert sorted(row for clean in frames(settings) for row in clean.frame["trace_id"]) == sorted(
        f"t{n}" for n in range(40)
    )


def test_a_take_over_drops_what_waited_and_forgets_what_was_counted(settings: Settings, feeder: Feeder) -> None:
    mine = sent(settings, avro(now(trace_id="mine")))
    other = sent(settings, avro(now(trace_id="other")), partition=1)

    async def story() -> list[Batch]:
        feeder._gathering._items = [mine, other]
        await feeder._taken_over(mine.tp)
        return feeder._gathering.take()

    assert asyncio.run(story()) == [other]


def test_repeats_after_a_crash_stand_in_the_ledger_twice_under_the_same_source(
    settings: Settings, feeder: Feeder
) -> None:
    """The judge trims them: what is demanded here is that equal rows have equal names."""
    batch = sent(settings, avro(now(trace_id="a")), avro(now(trace_id="b")))
    feed(feeder, batch)
    feed(feeder, batch)
    first, second = blocks(settings)
    assert (first.sources, first.offset, first.unit, first.trace) == (
        second.sources,
        second.offset,
        second.unit,
        second.trace,
    )


def test_a_bare_outcome_is_left_to_the_resolver_and_one_that_comes_back_bare_is_a_dead_letter(
    settings: Settings,
) -> None:
    """Both topics are one joiner's, and each row stands under the topic that it came from."""
    create_topics(settings, "outcomes_resolved")
    looked_up = functools.partial(read_outcomes, looked_up=True)
    sources = {"outcomes": read_outcomes, "outcomes_resolved": looked_up}
    joiner = Feeder(settings, "joiner", sources, "outcomes", SALT)
    at = time.time_ns() // 1_000
    whole, bare = avro(outcome(at=at), "outcome"), avro(outcome(at=at, assignments=[]), "outcome")
    feed(joiner, *(sent(settings, whole, bare, topic=name) for name in sources))
    joiner._registry.stop()
    (block,) = blocks(settings)
    assert (block.outcomes, block_columns(block).offset.tolist()) == (True, [0, 0])
    assert [source.topic for source in block.sources] == [settings.topics(name) for name in sources]
    (letter,) = letters_of(settings)
    assert (letter.source.topic, letter.offset) == (settings.topics("outcomes_resolved"), 1)
    assert (letter.value, letter.code, letter.stage) == (bare, "unresolved", "joiner")
    (stored,) = frames(settings)
    assert (stored.kind, stored.frame["topic"].to_list()) == ("outcomes", [settings.topics(name) for name in sources])


def test_a_status_tells_every_ledger_partition_with_an_experiment_how_far_a_source_is_stored(
    settings: Settings, feeder: Feeder
) -> None:
    batch = sent(settings, avro(now()), b"bad")
    (read,) = feeder._read([batch])
    assert feeder._status(batch.source, 0, 2).lag == 2
    feeder._totals[batch.tp].add(read.result.counts, batch.last + 1)
    tell(feeder._appender, settings.topics("ledger"), [feeder._status(batch.source, 2, 2)], {HOME})
    (status,) = [fact for fact in facts_of(settings, HOME) if isinstance(fact, SourceStatus)]
    assert (status.offset, status.lag, status.valid, status.rejected) == (2, 0, 1, 1)
    assert facts_of(settings, 1 - HOME) == []
