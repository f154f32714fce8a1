"""Snapshots on the compacted topic: the newest whole one that verifies, and what is made of those that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from confluent_kafka import Message

from stoploss.settings import Settings
from stoploss.state import Cursor, PartitionState
from streams import snapshot_store as module
from streams.snapshot_store import GENERATIONS, Restored, Written, cursor_record, read_snapshots, write_snapshot
from tests.installation import Kafka, appending, create_topics, headers_of, messages, settings_of
from tests.timelines import SECRET, Timeline, stored, traces

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Settings:
    settings = settings_of(kafka, tmp_path)
    create_topics(settings, "snapshots")
    return settings


def state_at(offset: int) -> PartitionState:
    """A state that its offset alone tells apart."""
    return PartitionState(0, clock=offset * 1_000_000, offset=offset)


def write(settings: Settings, state: PartitionState, generation: int, parts_before: int = 0) -> Written:
    appender = appending(settings)
    return write_snapshot(appender, settings.topics("snapshots"), state, generation, SECRET, parts_before)


def restored(settings: Settings, secret: bytes = SECRET) -> Restored:
    return read_snapshots(settings.need_kafka(), settings.topics("snapshots"), 0, secret)


def put_back(
    settings: Settings, parts: Iterable[Message], change: Callable[[bytes], bytes] = lambda value: value
) -> None:
    """Parts again, as the newest of their keys, headers as they were; changed as by a faulty disk or a foreign hand."""
    appender = appending(settings)
    for message in parts:
        headers = [(name, content or b"") for name, content in headers_of(message)]
        value = change(message.value() or b"")
        appender.append(settings.topics("snapshots"), value, key=message.key(), partition=0, headers=headers)
    appender.flush()


def part(slot: int, number: int) -> Callable[[Message], bool]:
    return lambda message: message.key() == f"snapshot/{slot}/{number}".encode()


def flipped(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


def test_without_a_snapshot_a_judge_begins_with_an_empty_state(settings: Settings) -> None:
    found = restored(settings)
    assert found == Restored(PartitionState(0), {}, 0, 0, ())


def test_the_newest_generation_is_restored_and_the_next_one_follows_it(settings: Settings) -> None:
    for generation in range(GENERATIONS + 2):
        write(settings, state_at(10 * generation), generation)
    found = restored(settings)
    assert (found.state.offset, found.generation, found.unreadable) == (40, 5, ())


def test_a_real_state_comes_back_as_it_was_from_several_parts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 500)
    timeline = Timeline().started()
    timeline.traces(traces(2_000, seed=1))
    timeline.seconds(1)
    written = write(settings, timeline.state, 0)
    found = restored(settings)
    assert written.parts == found.parts > 2
    assert found.state.experiments["checkout"].chain == timeline.it.chain
    assert stored(found.state) == stored(timeline.state)


@pytest.mark.parametrize(
    ("change", "why"),
    [(flipped, "the MAC does not verify"), (lambda value: value[:40], "the MAC does not verify")],
    ids=["a flipped bit", "a truncated part"],
)
def test_a_part_that_is_not_as_it_was_costs_one_generation_and_says_so(
    settings: Settings, change: Callable[[bytes], bytes], why: str
) -> None:
    write(settings, state_at(10), 0)
    write(settings, state_at(20), 1)
    put_back(settings, filter(part(1, 0), messages(settings, "snapshots", 0)), change)
    found = restored(settings)
    assert (found.state.offset, found.generation) == (10, 2)
    assert len(found.unreadable) == 1
    assert found.unreadable[0].startswith(f"generation 1: {why}")


def test_a_snapshot_whose_writer_died_half_way_is_passed_over(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 40)
    for generation in range(GENERATIONS):
        write(settings, state_at(generation), generation)
    # Generation 3 takes the slot of generation 0: of its parts the first alone is there.
    second_before = [message for message in messages(settings, "snapshots", 0) if part(0, 1)(message)]
    write(settings, state_at(3), 3)
    put_back(settings, second_before)
    found = restored(settings)
    assert (found.state.offset, found.generation) == (2, 4)
    assert "parts are there" in found.unreadable[0]


def test_with_another_secret_nothing_verifies_and_the_ledger_is_folded_from_its_beginning(settings: Settings) -> None:
    for generation in range(2):
        write(settings, state_at(generation), generation)
    found = restored(settings, secret=b"another secret of thirty-two byt")
    assert (found.state, found.generation) == (PartitionState(0), 2)
    assert [why.split(":")[0] for why in found.unreadable] == ["generation 1", "generation 0"]


def test_parts_that_a_smaller_snapshot_does_not_need_are_left_as_tombstones(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 20)
    large = write(settings, state_at(1), 0)
    monkeypatch.setattr(module, "PART_BYTES", 1_000)
    small = write(settings, state_at(2), GENERATIONS, parts_before=large.parts)
    assert (large.parts > 3, small.parts) == (True, 1)
    newest = {message.key(): message.value() for message in messages(settings, "snapshots", 0)}
    assert [key for key, value in newest.items() if value is not None] == [b"snapshot/0/0"]
    assert len(newest) == large.parts
    assert (restored(settings).state.offset, restored(settings).parts) == (2, 1)


def test_cursors_stand_beside_the_snapshots_and_the_last_of_each_experiment_counts(settings: Settings) -> None:
    appender = appending(settings)
    cursors = [Cursor("a", 0, 5, 0, 1, 1, 3, "c" * 64), Cursor("b", 0, 6, 1, 1, 1, 9, "d" * 64)]
    for cursor in [Cursor("a", 0, 2, 0, 1, 1, 1, "a" * 64), *cursors]:
        key, value = cursor_record(cursor)
        appender.append(settings.topics("snapshots"), value, key=key, partition=0)
    appender.flush()
    write(settings, state_at(4), 0)
    found = restored(settings)
    assert found.cursors == {"a": cursors[0], "b": cursors[1]}
    assert found.state.offset == 4


def test_partitions_do_not_see_each_others_snapshots(settings: Settings) -> None:
    write(settings, PartitionState(1, offset=7), 0)
    assert restored(settings).state == PartitionState(0)
    assert restored(settings).generation == 0
