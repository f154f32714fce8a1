"""Which segment values get a cell of their own: the heavy ones, whatever comes before them and wherever blocks end."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoploss.segments import CANDIDATES, CAPACITY, NO_CELL, NO_CODE, PATIENCE, Dimension
from tests.timelines import Timeline, spec, traces


def patient() -> Dimension:
    return Dimension("tenant", patience=PATIENCE)


def fold(dimension: Dimension, rows: list[str | None], cuts: tuple[int, ...] = ()) -> list[int]:
    """Cells of rows that come in blocks, each with a dictionary of its own, as blocks have."""
    cells: list[int] = []
    for start, end in pairwise((0, *cuts, len(rows))):
        block = rows[start:end]
        values = sorted({value for value in block if value is not None}) + ["unused"]
        codes = np.array([NO_CODE if value is None else values.index(value) for value in block], np.uint16)
        cells += dimension.cells_of(values, codes).tolist()
    return cells


def test_a_value_gets_its_cell_with_its_twentieth_row() -> None:
    dimension = patient()
    assert fold(dimension, ["acme", None] * 25) == [NO_CELL] * 38 + [0, NO_CELL] * 6
    assert (dimension.cells, dimension.waiting) == ({"acme": 0}, {})


def test_a_flood_of_values_that_come_once_takes_no_cell_from_the_heavy_ones() -> None:
    dimension = patient()
    flood: list[str | None] = []
    for number in range(3_000):
        flood += [f"visitor-{number}", f"heavy-{number % 10}"]
    fold(dimension, flood)
    assert sorted(dimension.cells) == [f"heavy-{number}" for number in range(10)]
    assert len(dimension.waiting) <= CANDIDATES


def test_of_zipfian_values_the_heaviest_have_the_cells() -> None:
    rng = np.random.default_rng(3)
    rank = rng.zipf(1.3, 60_000)
    dimension = patient()
    fold(dimension, [f"t{value:07}" for value in rank[rank < 10**6].tolist()][:40_000])
    assert len(dimension.cells) == CAPACITY + 1
    assert {f"t{value:07}" for value in range(1, 33)} <= set(dimension.cells)


def test_once_all_cells_are_taken_the_rest_share_one() -> None:
    dimension = patient()
    fold(dimension, [f"t{number}" for number in range(CAPACITY) for _ in range(PATIENCE)])
    assert fold(dimension, ["late", "t3", None, "later"]) == [CAPACITY, 3, NO_CELL, CAPACITY]
    assert (list(dimension.cells)[-1], dimension.waiting) == ("other", {})


def test_a_value_of_which_no_row_came_makes_no_other() -> None:
    dimension = patient()
    fold(dimension, [f"t{number}" for number in range(CAPACITY) for _ in range(PATIENCE)])
    fold(dimension, ["t1", "t2"])
    assert "other" not in dimension.cells


SOME: list[str | None] = [
    None if number % 17 == 0 else f"t{value}"
    for number, value in enumerate(np.random.default_rng(5).zipf(1.4, 4_000).tolist())
]


@settings(derandomize=True, deadline=None, database=None, max_examples=30)
@given(cuts=st.lists(st.integers(1, len(SOME) - 1), max_size=20, unique=True).map(sorted))
def test_where_blocks_are_cut_changes_no_cell(cuts: list[int]) -> None:
    whole, cut = patient(), patient()
    assert fold(whole, SOME) == fold(cut, SOME, tuple(cuts))
    assert (whole.cells, whole.waiting) == (cut.cells, cut.waiting)


@pytest.mark.parametrize("distinct", [10, 5_000])
def test_the_whole_judge_follows_the_values_that_recur(distinct: int) -> None:
    timeline = Timeline(spec("segments: [tenant]")).started()
    for second in range(3):
        some = traces(2_000, seed=second)
        some.segments = {"tenant": [f"t{row // 2 % distinct if row % 2 else row % 3}" for row in range(2_000)]}
        timeline.seconds(1)
        timeline.traces(some)
    timeline.seconds(10)
    shown = {str(arm.segment) for measure in timeline.measures() for arm in measure.arms if arm.segment is not None}
    assert shown == {f"tenant=t{number}" for number in (range(10) if distinct == 10 else range(3))}
