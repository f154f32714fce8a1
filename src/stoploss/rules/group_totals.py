"""What a guardrail keeps of a metric: exact totals by arm, cell and group of units, per epoch (stats/contrast.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stoploss.metrics import MISSING
from stoploss.rules.rows import CONTROL, TREATMENT, IntArray, Mask, Rows
from stoploss.segments import EVERYBODY, NO_CELL, Dimension, grown
from stoploss.stats.contrast import (
    ArmTotals,
    ClosedEpochs,
    Contrast,
    EpochTotals,
    Margin,
    NoContrast,
    close_epoch,
    contrasts,
)
from stoploss.units import DistinctUnits

GROUPS_OF_EVERYBODY = 256
GROUPS_OF_A_SEGMENT = 64
"""Powers of two: the last bits of a unit's hash are its group."""


@dataclass(slots=True)
class GroupTotals:
    """One metric in one dimension.

    n, total  (2, cells, groups) int64 of the open epoch
    closed    all closed epochs of the run
    shown_n, shown_total  (2, cells) int64 of the whole run, for people to read
    units     distinct units with a value; events: those with a value other than 0
    """

    n: IntArray
    total: IntArray
    closed: ClosedEpochs
    shown_n: IntArray
    shown_total: IntArray
    units: DistinctUnits
    events: DistinctUnits

    @classmethod
    def none(cls, dimension: str) -> GroupTotals:
        groups = GROUPS_OF_EVERYBODY if dimension == EVERYBODY else GROUPS_OF_A_SEGMENT
        empty = np.zeros((2, 1, groups), np.int64)
        flat = np.zeros((2, 1), np.int64)
        return cls(
            empty,
            empty.copy(),
            ClosedEpochs.none(1, groups),
            flat,
            flat.copy(),
            DistinctUnits.none(1),
            DistinctUnits.none(1),
        )

    @property
    def cells(self) -> int:
        return int(self.n.shape[1])

    @property
    def rows(self) -> int:
        """Of the whole run, in all cells."""
        return int(self.shown_n.sum())

    def fold(self, rows: Rows, dimension: Dimension, column: str) -> None:
        """Adds the rows that may be compared, have a value and a cell, and are within the day's cap of their unit."""
        x = rows.metrics.get(column)
        if x is None:
            return
        keep = usable(rows, dimension.name, x)
        if not keep.any():
            return
        arm, cell, unit, x = rows.arm[keep], rows.cells[dimension.name][keep], rows.unit[keep], x[keep]
        self._grow(grown(int(cell.max()) + 1, self.cells))
        cells, groups = self.n.shape[1:]
        key = (arm * cells + cell) * groups + (unit & np.uint64(groups - 1)).astype(np.int64)
        size = 2 * cells * groups
        added_n = np.bincount(key, minlength=size).reshape(2, cells, groups)
        added = np.bincount(key, x, minlength=size).astype(np.int64).reshape(2, cells, groups)
        self.n, self.total = self.n + added_n, self.total + added
        self.shown_n, self.shown_total = self.shown_n + added_n.sum(axis=2), self.shown_total + added.sum(axis=2)
        self.units.add(arm, cell, unit)
        event = x != 0
        self.events.add(arm[event], cell[event], unit[event])

    def _grow(self, cells: int) -> None:
        more = cells - self.cells
        if more <= 0:
            return
        wide, flat = ((0, 0), (0, more), (0, 0)), ((0, 0), (0, more))
        self.n, self.total = np.pad(self.n, wide), np.pad(self.total, wide)
        self.shown_n, self.shown_total = np.pad(self.shown_n, flat), np.pad(self.shown_total, flat)
        self.units.grow(cells)
        self.events.grow(cells)
        closed, by_group = self.closed, ((0, more), (0, 0))
        self.closed = ClosedEpochs(
            np.pad(closed.weight, (0, more)),
            np.pad(closed.weighted_difference, (0, more)),
            np.pad(closed.influence, by_group),
            np.pad(closed.control_mass, by_group),
            np.pad(closed.treatment_mass, by_group),
        )

    def _open(self) -> EpochTotals:
        arms = (ArmTotals(self.n[arm], self.total[arm]) for arm in (CONTROL, TREATMENT))
        return EpochTotals(*arms)

    def close_epoch(self, margin: Margin) -> None:
        self.closed = close_epoch(self.closed, self._open(), margin)
        self.n, self.total = np.zeros_like(self.n), np.zeros_like(self.total)

    def contrasts(self, margin: Margin, alphas: list[float], tstar: float) -> list[Contrast | NoContrast]:
        """One for each of the first len(alphas) cells."""
        live = len(alphas)
        state, closed = self._open(), self.closed
        arms = (ArmTotals(arm.n[:live], arm.sum_x[:live]) for arm in (state.control, state.treatment))
        first = ClosedEpochs(
            closed.weight[:live],
            closed.weighted_difference[:live],
            closed.influence[:live],
            closed.control_mass[:live],
            closed.treatment_mass[:live],
        )
        return contrasts(first, EpochTotals(*arms), margin=margin, alphas=alphas, tstar=tstar)

    def mean(self, arm: int, cell: int) -> float | None:
        """Mean of the rows compared, in integer units; None is no data."""
        n = int(self.shown_n[arm, cell])
        return int(self.shown_total[arm, cell]) / n if n else None


def usable(rows: Rows, dimension: str, x: IntArray) -> Mask:
    """Rows on which arms may be compared, that have a value and a cell, and are within the day's cap."""
    keep: Mask = rows.compared & rows.capped & (x != MISSING) & (rows.cells[dimension] != NO_CELL)
    return keep


def worth_a_look(before: int, after: int) -> bool:
    """Whether a mean over so many rows may say something new: their number has grown by one or two hundredths.

    A look costs the same however many rows came, and a harm that shows in a hundredth of all rows is no matter of
    milliseconds; each second's tick is a look besides. The first 127 rows are looked at as they come.

    >>> worth_a_look(100, 101), worth_a_look(100_000, 100_200), worth_a_look(100_000, 102_000)
    (True, False, True)
    """
    return _magnitude(before) != _magnitude(after)


def _magnitude(n: int) -> tuple[int, int]:
    """The first seven binary digits, and how many follow."""
    follow = max(0, n.bit_length() - 7)
    return follow, n >> follow
