"""Running metrics: exact in every cell, however rows are cut, and wherever room had to be made."""

from __future__ import annotations

import numpy as np
import pytest

from stoploss.commands import Segment
from stoploss.metrics import MISSING
from stoploss.running import Grid, RunningMetrics, Sums
from stoploss.segments import NO_CELL, Dimension
from stoploss.stats import exact_sums

NAMES = ("", "language", "tenant")


def rows(size: int, seed: int, cells: int = 3) -> tuple[Grid, np.ndarray]:
    """Some rows without a tenant; everybody has one cell."""
    rng = np.random.default_rng(seed)
    tenant = rng.integers(NO_CELL, cells, size)
    of = {"": np.zeros(size, np.int64), "language": rng.integers(0, 2, size), "tenant": tenant}
    return Grid(rng.integers(0, 2, size), of), rng.integers(-(2**40) + 1, 2**40, size)


def folded(grid: Grid, x: np.ndarray, block: int = 1_000) -> Sums:
    metrics = RunningMetrics()
    for start in range(0, x.size, block):
        part = np.zeros(x.size, np.bool_)
        part[start : start + block] = True
        metrics.fold("x", True, grid.only(part), x[part])
    return metrics.metrics["x"]


def places(sums: Sums) -> list[tuple[str, int, int, int]]:
    """Dimension, arm, cell and place of all."""
    return [
        (name, arm, cell, start + arm * sums.room[name] + cell)
        for name, start in sums.starts().items()
        for arm in (0, 1)
        for cell in range(sums.room[name])
    ]


def test_sums_are_those_of_unbounded_integers() -> None:
    grid, x = rows(5_000, seed=1)
    sums = folded(grid, x)
    assert sums.room == {"": 1, "language": 2, "tenant": 4}
    for name, arm, cell, place in places(sums):
        mine = [int(value) for value in x[(grid.arm == arm) & (grid.cells[name] == cell)]]
        assert int(sums.n[place]) == len(mine) == int(sums.buckets[place].sum())
        assert int(sums.total[place]) == sum(mine)
        assert exact_sums.total(sums.squares, place) == sum(value * value for value in mine)


def test_rows_that_have_a_cell_in_each_dimension_give_the_same_sums_as_any_others() -> None:
    """Those are added to joint cells first."""
    grid, x = rows(4_000, seed=7)
    grid.cells["tenant"][:] = np.abs(grid.cells["tenant"])
    sums = folded(grid, x, 2_000)
    assert Grid(grid.arm[:2_000], {n: c[:2_000] for n, c in grid.cells.items()}).places(sums.room).joint is not None
    assert grid.only(np.arange(4_000) < 10).places(sums.room).joint is None
    one_by_one = folded(grid, x, 10)
    for name in ("n", "total", "squares", "buckets"):
        assert getattr(sums, name).tolist() == getattr(one_by_one, name).tolist()


@pytest.mark.parametrize("block", [1, 333, 4_000])
def test_how_rows_are_cut_changes_no_sum(block: int) -> None:
    grid, x = rows(4_000, seed=2)
    once, cut = folded(grid, x, 4_000), folded(grid, x, block)
    assert once.room == cut.room
    for name in ("n", "total", "squares", "buckets"):
        assert np.array_equal(getattr(once, name), getattr(cut, name)), name


def test_growing_keeps_every_sum_where_it_was() -> None:
    grid, x = rows(2_000, seed=3)
    small = folded(grid, x)
    before = {name: (small.moments(name, 2, 1_000), small.quantiles_of(name, 2, 1_000)) for name in NAMES[1:]}
    large = small.grown_to({"tenant": 9, "zone": 1})
    assert large.room == {"": 1, "language": 2, "tenant": 16, "zone": 1}
    assert {n: (large.moments(n, 2, 1_000), large.quantiles_of(n, 2, 1_000)) for n in NAMES[1:]} == before
    assert large.moments("tenant", 9, 1_000)[1][8] == (0, None, None)
    assert large.quantiles_of("tenant", 9, 1_000)[1][8] == [None, None, None]
    assert small.grown_to({"tenant": 4}) is small


def test_one_value_has_a_mean_and_no_deviation() -> None:
    metrics, nought = RunningMetrics(), np.zeros(1, np.int64)
    metrics.fold("x", False, Grid(nought, {"": nought}), np.array([2_500]))
    sums = metrics.metrics["x"]
    assert sums.moments("", 1, 1_000) == [[(1, 2.5, None)], [(0, None, None)]]
    assert sums.quantiles_of("", 1, 1_000) == [[[None, None, None]], [[None, None, None]]]


def test_rows_without_a_value_or_a_cell_are_not_counted() -> None:
    metrics, dimension = RunningMetrics(), Dimension("tenant", {"a": 0})
    grid = Grid(np.zeros(3, np.int64), {"tenant": np.array([0, NO_CELL, 0])})
    metrics.fold("latency_ms", True, grid, np.array([5, 6, MISSING]))
    [measured] = metrics.arms(("current", "small"), {"tenant": dimension}, {"latency_ms": 1_000})
    assert (measured.n, measured.segment) == (1, Segment("tenant", "a"))


def test_room_is_made_for_the_cells_that_have_rows_and_no_others() -> None:
    """How much room there is must not depend on how rows were cut into blocks."""
    metrics, nought = RunningMetrics(), np.zeros(1, np.int64)
    metrics.fold("x", False, Grid(nought, {"tenant": np.array([2]), "zone": np.array([NO_CELL])}), np.array([1]))
    assert metrics.metrics["x"].room == {"tenant": 4}
