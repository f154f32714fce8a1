from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from stoploss import snapshot
from stoploss.errors import SnapshotUnreadable
from stoploss.recent import RecentTraces
from stoploss.snapshot import dump, load
from stoploss.state import PartitionState
from tests.timelines import EVERY_RULE, SECRET, Timeline, spec, stored, traces


class Colour(StrEnum):
    RED = "red"


@dataclass
class Left:
    x: int = 1


@dataclass
class Right:
    x: int = 2


@dataclass
class Everything:
    """Every kind of field that a state may have."""

    text: str = "naïve 日本 \x00"
    number: int = 2**70
    real: float = 0.1
    flag: bool = True
    none: int | None = None
    colour: Colour = Colour.RED
    maybe_colour: Colour | None = Colour.RED
    either: dict[str, Left | Right] = field(default_factory=lambda: {"a": Left(), "b": Right(7)})
    numbered: dict[int, list[float]] = field(default_factory=lambda: {3: [1.5, -0.0], 1: []})
    pair: tuple[int, str] = (4, "four")
    many: tuple[Left, ...] = (Left(5), Left(6))
    bits: np.ndarray = field(default_factory=lambda: np.array([[True, False, True]] * 3))
    wide: np.ndarray = field(default_factory=lambda: np.array([[2**63 - 1], [-(2**63)]], np.int64))
    reals: np.ndarray = field(default_factory=lambda: np.array([1 / 3, -0.0, 5e-324]))
    empty: np.ndarray = field(default_factory=lambda: np.zeros((2, 0, 3), np.int64))
    small: np.ndarray = field(default_factory=lambda: np.arange(5, dtype=np.uint8))
    waiting: list[Any] = field(default_factory=list, metadata={"transient": True})


def test_every_kind_of_field_comes_back_as_it_was() -> None:
    state = Everything()
    found = load(Everything, dump(state, SECRET), SECRET)
    for name, value in vars(state).items():
        if isinstance(value, np.ndarray):
            assert getattr(found, name).dtype == value.dtype
            assert getattr(found, name).shape == value.shape
            assert getattr(found, name).tobytes() == value.tobytes()
        else:
            assert getattr(found, name) == value
    assert type(found.either["b"]) is Right
    assert list(found.numbered) == [3, 1]
    assert isinstance(found.colour, Colour)


def test_what_waits_is_not_kept() -> None:
    assert load(Everything, dump(Everything(waiting=[1]), SECRET), SECRET).waiting == []


def test_restored_arrays_can_be_written_to() -> None:
    found = load(Everything, dump(Everything(), SECRET), SECRET)
    found.wide[0] = 1
    found.bits[0] = False


def test_what_has_no_plain_form_is_refused_with_the_way_out() -> None:
    with pytest.raises(TypeError, match="set cannot be kept in a snapshot; give it to_plain and from_plain"):
        dump(Everything(text={1}), SECRET)  # type: ignore[arg-type]


def test_an_array_of_another_kind_is_refused_with_those_that_can_be_kept() -> None:
    with pytest.raises(TypeError, match=r"an array of object cannot be kept in a snapshot; these can: \|b1, .*<f8"):
        dump(Everything(small=np.array([{}])), SECRET)


def state_with_everything() -> PartitionState:
    timeline = Timeline(spec(EVERY_RULE)).started()
    for second in range(3):
        timeline.seconds(1)
        timeline.traces(traces(800, seed=second, tenant="acme", language="de"))
    return timeline.state


def test_a_partition_comes_back_to_the_byte() -> None:
    state = state_with_everything()
    saved = stored(state)
    assert stored(load(PartitionState, saved, SECRET)) == saved


def test_equal_states_give_equal_bytes() -> None:
    assert stored(state_with_everything()) == stored(state_with_everything())


SAVED = stored(state_with_everything())


def test_another_secret_does_not_open_it() -> None:
    with pytest.raises(SnapshotUnreadable, match=r"the MAC does not verify: .* fold the ledger instead"):
        load(PartitionState, SAVED, b"another secret")


@settings(derandomize=True, deadline=None, database=None, max_examples=60)
@given(at=st.integers(0, len(SAVED) - 1), bit=st.integers(0, 7))
def test_a_single_turned_bit_is_refused(at: int, bit: int) -> None:
    """River takes more than half of all corrupt states silently; nothing corrupt may reach it."""
    turned = bytearray(SAVED)
    turned[at] ^= 1 << bit
    with pytest.raises(SnapshotUnreadable):
        load(PartitionState, bytes(turned), SECRET)


@settings(derandomize=True, deadline=None, database=None, max_examples=40)
@given(size=st.integers(0, len(SAVED) - 1))
def test_a_snapshot_that_ends_early_is_refused(size: int) -> None:
    with pytest.raises(SnapshotUnreadable):
        load(PartitionState, SAVED[:size], SECRET)


def test_another_format_is_refused_by_name() -> None:
    with pytest.raises(SnapshotUnreadable, match="format b'STPLSNP9' is not"):
        load(PartitionState, b"STPLSNP9" + SAVED[8:], SECRET)


def test_a_state_of_another_river_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its detectors' bytes are private to a version."""
    monkeypatch.setattr(snapshot, "RIVER", "0.99.0")
    with pytest.raises(SnapshotUnreadable, match=r"made with river .*, this is 0\.99\.0; fold the ledger instead"):
        load(PartitionState, SAVED, SECRET)


@dataclass
class Before:
    x: int = 1


@dataclass
class After:
    x: int = 1
    y: int = 2


@dataclass
class Later:
    """The new field stands first, and the version that added it says so."""

    added: np.ndarray = field(default_factory=lambda: np.ones(3), metadata={"since": "0.2.0"})
    kept: np.ndarray = field(default_factory=lambda: np.zeros(2))


@dataclass
class Earlier:
    kept: np.ndarray = field(default_factory=lambda: np.array([4.0, 5.0]))


def test_a_state_that_lacks_a_field_is_an_older_versions_and_refused() -> None:
    with pytest.raises(SnapshotUnreadable, match="After lacks y: an older version has made it; fold the ledger"):
        load(After, dump(Before(), SECRET), SECRET)


def test_a_state_with_a_field_too_many_is_a_newer_versions_and_refused() -> None:
    with pytest.raises(SnapshotUnreadable, match="Before has y: a newer version has made it; fold the ledger"):
        load(Before, dump(After(), SECRET), SECRET)


def test_a_field_that_says_since_when_it_exists_begins_with_its_default() -> None:
    found = load(Later, dump(Earlier(), SECRET), SECRET)
    assert found.added.tolist() == [1.0, 1.0, 1.0]
    assert found.kept.tolist() == [4.0, 5.0]


@pytest.mark.parametrize("kind", ["<,8", "|O8", "<V8", "f8,"])
def test_an_array_of_no_kind_is_unreadable_whoever_signed_it(kind: str) -> None:
    """NumPy raises SyntaxError for some of them."""
    body = zstandard.ZstdDecompressor().stream_reader(dump(Earlier(), SECRET)[40:]).read()
    size = 8 + int.from_bytes(body[:8], "little")
    tree = body[8:size].replace(b'"<f8"', f'"{kind}"'.encode())
    packed = zstandard.ZstdCompressor().compress(len(tree).to_bytes(8, "little") + tree + body[size:])
    with pytest.raises(SnapshotUnreadable, match="the state is not of this version"):
        load(Earlier, snapshot.MAGIC + snapshot._mac(packed, SECRET) + packed, SECRET)


@dataclass
class Sparse:
    """Large, and zeros for the most part: one that is two-dimensional, one with a zero that is negative, and bits."""

    counts: np.ndarray = field(default_factory=lambda: np.zeros((100, 100), np.int64))
    reals: np.ndarray = field(default_factory=lambda: np.zeros(10_000))
    bits: np.ndarray = field(default_factory=lambda: np.zeros(10_000, np.bool_))


def test_what_is_zeros_for_the_most_part_comes_back_to_the_bit_and_takes_no_room() -> None:
    state = Sparse()
    state.counts[99, 99], state.counts[0, 3] = -1, 2**62
    state.reals[[0, 17]] = -0.0, 1e-300
    state.bits[9_999] = True
    saved = dump(state, SECRET)
    found = load(Sparse, saved, SECRET)
    for name, value in vars(state).items():
        assert getattr(found, name).dtype == value.dtype
        assert getattr(found, name).shape == value.shape
        assert getattr(found, name).tobytes() == value.tobytes()
    found.counts[5, 5] = 1
    assert len(saved) < 500


@pytest.mark.slow
def test_a_state_of_more_than_a_gibibyte_comes_back() -> None:
    large = Earlier(np.ones(2**27 + 1))
    large.kept[-1] = 7.0
    found = load(Earlier, dump(large, SECRET), SECRET)
    assert found.kept.size == 2**27 + 1
    assert found.kept[-1] == 7.0


def test_a_snapshot_holds_no_pickle_and_its_tree_is_json() -> None:
    body = zstandard.ZstdDecompressor().decompress(SAVED[40:], max_output_size=1 << 30)
    size = int.from_bytes(body[:8], "little")
    assert set(json.loads(body[8 : 8 + size])) == {"river", "state"}


def test_recent_traces_come_back_in_their_order_and_forget_the_oldest_first() -> None:
    recent = RecentTraces()
    hashes = np.arange(70_000, dtype=np.uint64)
    for start in range(0, 70_000, 7_000):
        assert recent.fresh(hashes[start : start + 7_000]).all()
    again = RecentTraces.from_plain(recent.to_plain())
    for known in (recent, again):
        assert known.to_plain().size == 65_536
        assert not known.fresh(hashes[70_000 - 65_536 :][:1]).any()
        assert known.fresh(hashes[:1]).all()
