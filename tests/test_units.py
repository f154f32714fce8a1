from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoploss.units import (
    CAP_CELLS,
    CAP_PER_DAY,
    DAY_MICROS,
    SAMPLE_LIMIT,
    ArmSample,
    DailyCap,
    DistinctUnits,
    SeenUnits,
    occurrence_rank,
)

steady = settings(derandomize=True, deadline=None, database=None, max_examples=50)


def units(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint64)


def hashes(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


@steady
@given(st.lists(st.integers(0, 5), max_size=60))
def test_the_rank_of_an_occurrence_is_the_number_of_those_before(keys: list[int]) -> None:
    assert occurrence_rank(np.array(keys, np.int64)).tolist() == [keys[:i].count(key) for i, key in enumerate(keys)]


def test_the_first_trace_of_a_unit_is_marked_once_and_for_ever() -> None:
    seen = SeenUnits()
    a, b = 1 << 60, 2 << 60
    assert seen.first(units(a, b, a)).tolist() == [True, True, False]
    assert seen.first(units(b, 3 << 60, a)).tolist() == [False, True, False]


def test_a_collision_drops_the_later_unit_whatever_its_arm() -> None:
    seen = SeenUnits()
    assert seen.first(units(1 << 60, (1 << 60) + 1)).tolist() == [True, False]


def test_almost_all_of_ten_thousand_units_are_seen_as_themselves() -> None:
    found = int(SeenUnits().first(hashes(10_000, 1)).sum())
    assert 9_900 < found <= 10_000


def test_ten_traces_of_a_unit_count_in_a_day() -> None:
    cap = DailyCap()
    assert cap.admit(np.repeat(units(7, 8), 15)).tolist() == ([True] * 10 + [False] * 5) * 2
    assert not cap.admit(units(7)).any()
    cap.advance(DAY_MICROS)
    assert cap.admit(units(7)).all()


def test_a_second_of_the_same_day_changes_no_cap() -> None:
    cap = DailyCap()
    cap.advance(DAY_MICROS)
    cap.admit(np.repeat(units(7), CAP_PER_DAY))
    cap.advance(2 * DAY_MICROS - 1)
    assert not cap.admit(units(7)).any()


def test_the_cap_starts_anew_when_half_of_its_cells_are_taken() -> None:
    cap = DailyCap()
    cap.advance(DAY_MICROS)
    cap.admit(np.arange(CAP_CELLS // 2 + 1, dtype=np.uint64))
    cap.admit(np.repeat(units(7), CAP_PER_DAY))
    assert not cap.admit(units(7)).any()
    cap.advance(DAY_MICROS + 1)
    assert cap.admit(units(7)).all()


@steady
@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(0, 80))
def test_tables_do_not_care_where_a_block_ends(numbers: list[int], at: int) -> None:
    rows = np.array(numbers, np.uint64) << np.uint64(60) | np.array(numbers, np.uint64)
    for table in (SeenUnits, DailyCap):
        whole, cut = table(), table()
        of_whole = whole.first(rows) if isinstance(whole, SeenUnits) else whole.admit(rows)
        parts = [cut.first(p) if isinstance(cut, SeenUnits) else cut.admit(p) for p in (rows[:at], rows[at:])]
        assert of_whole.tolist() == np.concatenate(parts).tolist()


def test_distinct_units_are_never_more_than_there_are_and_close_up_to_hundreds() -> None:
    distinct = DistinctUnits.none(2)
    some = hashes(500, 3)
    for _ in range(3):
        distinct.add(np.zeros(500, np.int64), np.ones(500, np.int64), some)
    [[none, found], treatment] = distinct.counts().tolist()
    assert (none, treatment) == (0, [0, 0])
    assert 420 < found <= 500


def test_distinct_units_keep_their_counts_when_cells_are_added() -> None:
    distinct = DistinctUnits.none(1)
    distinct.add(np.ones(50, np.int64), np.zeros(50, np.int64), hashes(50, 4))
    before = distinct.counts()[1, 0]
    distinct.grow(4)
    assert distinct.counts().shape == (2, 4)
    assert distinct.counts()[1].tolist() == [before, 0, 0, 0]


def test_a_unit_in_two_arms_is_found() -> None:
    sample = ArmSample()
    sample.add(np.array([0, 1, 0]), units(5, 6, 5))
    assert not sample.changed
    sample.add(np.array([1]), units(5))
    assert list(sample.changed) == [5]


def test_the_sample_is_bounded_and_still_finds_its_part_of_those_that_change() -> None:
    sample, some = ArmSample(), hashes(100_000, 5)
    for start in range(0, some.size, 5_000):
        sample.add(np.zeros(5_000, np.int64), some[start : start + 5_000])
    assert SAMPLE_LIMIT / 3 < len(sample.arm_of) <= SAMPLE_LIMIT
    sample.add(np.ones(some.size, np.int64), some)
    assert len(sample.changed) == len(sample.arm_of)


@pytest.mark.parametrize("rows", [100, 999, 20_000])
def test_the_sample_is_the_same_however_the_rows_come(rows: int) -> None:
    some, whole, cut = hashes(30_000, 6), ArmSample(), ArmSample()
    arm = (np.random.default_rng(7).random(30_000) < 0.5).astype(np.int64)
    whole.add(arm, some)
    for start in range(0, some.size, rows):
        cut.add(arm[start : start + rows], some[start : start + rows])
    assert whole == cut
