from __future__ import annotations

import numpy as np
import pytest

from stoploss.commands import Segment
from stoploss.metrics import MISSING
from stoploss.segments import CAPACITY, NO_CELL, NO_CODE, CellMetrics, Dimension, Grid, SegmentMetrics, Values, grown
from stoploss.stats import exact_sums


def codes(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint16)


def test_values_become_cells_in_the_order_of_their_first_row() -> None:
    dimension = Dimension("tenant")
    assert dimension.cells_of(["a", "b", "c"], codes(2, 0, 2, 1)).tolist() == [0, 1, 0, 2]
    assert list(dimension.cells) == ["c", "a", "b"]


def test_a_row_without_a_value_has_no_cell() -> None:
    assert Dimension("tenant").cells_of(["a"], codes(0, NO_CODE)).tolist() == [0, NO_CELL]


def test_another_dictionary_finds_the_same_cells() -> None:
    dimension = Dimension("tenant")
    dimension.cells_of(["a", "b"], codes(0, 1))
    assert dimension.cells_of(["b", "a", "unused"], codes(0, 1)).tolist() == [1, 0]
    assert "unused" not in dimension.cells


def test_what_comes_after_the_capacity_shares_one_cell() -> None:
    dimension = Dimension("tenant")
    values = [f"t{number}" for number in range(CAPACITY + 100)]
    cells = dimension.cells_of(values, np.arange(CAPACITY + 100, dtype=np.uint16))
    assert cells[:CAPACITY].tolist() == list(range(CAPACITY))
    assert set(cells[CAPACITY:].tolist()) == {CAPACITY}
    assert dimension.segment(CAPACITY) == Segment("tenant", "other")
    assert dimension.used == CAPACITY + 1


def test_a_value_that_calls_itself_other_is_other() -> None:
    dimension = Dimension("tenant")
    first = dimension.cells_of(["other", "a"], codes(0, 1)).tolist()
    values = [f"t{number}" for number in range(200)]
    late = dimension.cells_of(values, np.arange(200, dtype=np.uint16))
    assert late[-1] == first[0]
    assert dimension.used <= CAPACITY + 1


def test_everybody_is_no_segment() -> None:
    assert Dimension("", {"": 0}).segment(0) is None


@pytest.mark.parametrize(("used", "size", "to"), [(1, 1, 1), (3, 1, 4), (33, 32, 64), (65, 1, 65), (65, 64, 65)])
def test_room_doubles_up_to_the_capacity_and_other(used: int, size: int, to: int) -> None:
    assert grown(used, size) == to


def folded(rows: int, seed: int) -> tuple[CellMetrics, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    arm, cell = rng.integers(0, 2, rows), rng.integers(0, 3, rows)
    x = rng.integers(-(2**40) + 1, 2**40, rows)
    state = CellMetrics.none(3, quantiles=True)
    for start in range(0, rows, 1_000):
        part = slice(start, start + 1_000)
        state.fold(Grid.of(arm[part], cell[part]), Values.of(x[part], quantiles=True))
    return state, arm, cell, x


def test_sums_are_those_of_unbounded_integers() -> None:
    state, arm, cell, x = folded(5_000, seed=1)
    for a in (0, 1):
        for c in range(3):
            mine = [int(value) for value in x[(arm == a) & (cell == c)]]
            assert int(state.n[a, c]) == len(mine)
            assert int(state.total[a, c]) == sum(mine)
            assert exact_sums.total(state.squares, a * 3 + c) == sum(value * value for value in mine)


def test_growing_keeps_every_sum_where_it_was() -> None:
    state, *_ = folded(2_000, seed=2)
    before, quantiles = state.moments(3, 1_000), state.quantiles(3, 1_000)
    state.grow(8)
    assert [arm[:3] for arm in state.moments(8, 1_000)] == before
    assert [arm[:3] for arm in state.quantiles(8, 1_000)] == quantiles
    assert state.moments(8, 1_000)[1][7] == (0, None, None)
    assert state.quantiles(8, 1_000)[1][7] == [None, None, None]


def test_one_value_has_a_mean_and_no_deviation() -> None:
    state = CellMetrics.none(1, quantiles=False)
    nought = np.zeros(1, np.int64)
    state.fold(Grid.of(nought, nought), Values.of(np.array([2_500]), quantiles=False))
    assert state.moments(1, 1_000) == [[(1, 2.5, None)], [(0, None, None)]]
    assert state.quantiles(1, 1_000) == [[[None, None, None]], [[None, None, None]]]


def test_rows_without_a_value_or_a_cell_are_not_counted() -> None:
    metrics, dimension = SegmentMetrics(), Dimension("tenant", {"a": 0})
    arm = np.zeros(3, np.int64)
    metrics.fold("latency_ms", True, {"tenant": Grid.of(arm, np.array([0, NO_CELL, 0]))}, np.array([5, 6, MISSING]))
    [measured] = metrics.arms(("current", "small"), {"tenant": dimension}, {"latency_ms": 1_000})
    assert (measured.n, measured.segment) == (1, Segment("tenant", "a"))


def test_room_is_made_for_the_cells_that_have_rows_and_no_others() -> None:
    """How much room there is must not depend on how rows were cut into blocks."""
    metrics = SegmentMetrics()
    metrics.fold("x", False, {"tenant": Grid.of(np.zeros(1, np.int64), np.array([2]))}, np.array([1]))
    assert metrics.cells["x"]["tenant"].n.shape == (2, 4)
