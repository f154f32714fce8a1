from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stoploss.metrics import MISSING
from stoploss.rules.binary_guardrail import FirstTraces
from stoploss.rules.group_totals import GROUPS_OF_A_SEGMENT, GROUPS_OF_EVERYBODY, GroupTotals
from stoploss.rules.rows import Rows, with_value
from stoploss.segments import NO_CELL, Dimension
from stoploss.stats.contrast import Contrast, Margin, NoContrast

TENANTS = Dimension("tenant", {f"t{number}": number for number in range(20)})


def rows(n: int, seed: int = 1, cells: int = 3) -> Rows:
    rng = np.random.default_rng(seed)
    every = np.ones(n, np.bool_)
    zeros = np.zeros(n, np.int64)
    return Rows(
        arm=rng.integers(0, 2, n),
        unit=rng.integers(0, 2**64, n, dtype=np.uint64),
        at=zeros,
        start=zeros,
        exposure=True,
        compared=every,
        first=every,
        capped=every,
        cells={"tenant": rng.integers(0, cells, n), "": zeros},
        metrics={"x": rng.integers(0, 2, n)},
        gates=np.zeros(n, np.uint32),
        details={},
    )


def test_everybody_has_256_groups_of_units_and_a_segment_64() -> None:
    assert GroupTotals.none("").n.shape == (2, 1, GROUPS_OF_EVERYBODY) == (2, 1, 256)
    assert GroupTotals.none("tenant").n.shape == (2, 1, GROUPS_OF_A_SEGMENT) == (2, 1, 64)


def test_totals_are_those_of_each_arm_cell_and_group() -> None:
    some, totals = rows(500), GroupTotals.none("tenant")
    totals.fold(some, TENANTS, "x")
    for arm, cell, group in [(0, 0, 5), (1, 2, 63), (0, 1, 17)]:
        mine = (some.arm == arm) & (some.cells["tenant"] == cell) & (some.unit % np.uint64(64) == group)
        assert totals.n[arm, cell, group] == mine.sum()
        assert totals.total[arm, cell, group] == some.metrics["x"][mine].sum()


@pytest.mark.parametrize("column", ["compared", "capped"])
def test_rows_that_may_not_be_compared_add_nothing(column: str) -> None:
    totals = GroupTotals.none("tenant")
    totals.fold(replace(rows(50), **{column: np.zeros(50, np.bool_)}), TENANTS, "x")  # type: ignore[arg-type]
    assert not totals.n.any()


def test_rows_without_a_value_or_a_cell_do_not_count() -> None:
    some = rows(3)
    some.metrics["x"][0] = MISSING
    some.cells["tenant"][1] = NO_CELL
    counted, x = with_value(some.counted("tenant"), some.metrics["x"])
    assert (counted.index.tolist(), x.tolist()) == ([2], [some.metrics["x"][2]])


def test_room_is_made_for_the_cells_that_have_rows_and_no_others() -> None:
    """How much room there is must not depend on how rows were cut into blocks."""
    totals, first = GroupTotals.none("tenant"), FirstTraces.none()
    totals.fold(rows(50, cells=3), TENANTS, "x")
    first.fold(rows(50, cells=3), TENANTS, "x")
    assert totals.cells == first.pending.shape[2] == 4


def test_growing_changes_no_contrast() -> None:
    some, margin = rows(4_000, cells=2), Margin()
    small, large = GroupTotals.none("tenant"), GroupTotals.none("tenant")
    for totals in (small, large):
        totals.fold(some, TENANTS, "x")
        totals.close_epoch(margin)
        totals.fold(rows(4_000, seed=2, cells=2), TENANTS, "x")
    large.fold(rows(50, seed=3, cells=20), TENANTS, "absent")
    large.make_room(32)
    first, second = (list(totals.contrasts(margin, [0.01, 0.01], 5_000)) for totals in (small, large))
    assert all(isinstance(contrast, Contrast) for contrast in first)
    assert first == second
    assert isinstance(large.contrasts(margin, [0.01] * 3, 5_000)[2], NoContrast)


def test_a_closed_epoch_empties_the_open_one_and_keeps_what_people_read() -> None:
    totals = GroupTotals.none("tenant")
    totals.fold(rows(500), TENANTS, "x")
    shown = totals.shown_n.copy()
    totals.close_epoch(Margin())
    assert not totals.n.any()
    assert not totals.total.any()
    assert (totals.shown_n == shown).all()


def test_no_rows_have_no_mean() -> None:
    assert GroupTotals.none("").mean(0, 0) is None
