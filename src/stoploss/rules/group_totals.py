"""What a guardrail keeps of a metric: exact totals by arm, cell and group of units, per epoch (stats/contrast.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stoploss.arrays import indices
from stoploss.rules.rows import CONTROL, TREATMENT, IntArray, Rows, with_value
from stoploss.segments import EVERYBODY, Dimension, grown
from stoploss.stats.contrast import (
    ArmTotals,
    ClosedEpochs,
    Contrasts,
    EpochTotals,
    Margin,
    Margins,
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
    units     distinct units with a value; events: those with a value other than 0, where that is of interest
    changes   how often anything here has changed since it was made or restored
    """

    n: IntArray
    total: IntArray
    closed: ClosedEpochs
    shown_n: IntArray
    shown_total: IntArray
    units: DistinctUnits
    events: DistinctUnits
    changes: int = field(default=0, compare=False, metadata={"transient": True})

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

    def fold(self, rows: Rows, dimension: Dimension, column: str, *, events: bool = False) -> None:
        """Adds the rows that may be compared, have a value and a cell, and are within the day's cap of their unit.

        events  whether units with a value other than 0 are of interest
        """
        x = rows.metrics.get(column)
        if x is None:
            return
        counted, x = with_value(rows.counted(dimension.name), x)
        if not x.size:
            return
        self.changes += 1
        self.make_room(counted.cells)
        places = counted.place(*self.n.shape[1:])
        self.n += places.n
        self.shown_n += places.shown_n
        np.add.at(self.total.reshape(-1), places.flat, x)
        np.add.at(self.shown_total.reshape(-1), places.key, x)
        self.units.take(places.slots)
        if events:
            self.events.take(places.slots[indices(x != 0)])

    def make_room(self, cells: int) -> None:
        """For so many cells."""
        cells = grown(cells, self.cells)
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

    def close_epoch(self, margin: Margin) -> None:
        self.changes += 1
        self.closed = close_epoch(self.closed, _epoch(self.n, self.total), margin)
        self.n, self.total = np.zeros_like(self.n), np.zeros_like(self.total)

    def contrasts(self, margin: Margin, alphas: Sequence[float], tstar: float) -> Contrasts:
        """One for each of the first len(alphas) cells."""
        return contrasts_of([(self, alphas)], margin, tstar)

    def mean(self, arm: int, cell: int) -> float | None:
        """Mean of the rows compared, in integer units; None is no data."""
        n = int(self.shown_n[arm, cell])
        return int(self.shown_total[arm, cell]) / n if n else None


def contrasts_of(
    parts: Sequence[tuple[GroupTotals, Sequence[float]]], margin: Margin | Margins, tstar: float
) -> Contrasts:
    """Of several totals with as many groups, one after the other: of as many cells of each as have an alpha."""
    lives = [len(alphas) for _, alphas in parts]
    n = _joined([totals.n[:, :live] for (totals, _), live in zip(parts, lives, strict=True)], axis=1)
    total = _joined([totals.total[:, :live] for (totals, _), live in zip(parts, lives, strict=True)], axis=1)
    closed = ClosedEpochs(
        *(
            _joined([getattr(totals.closed, name)[:live] for (totals, _), live in zip(parts, lives, strict=True)], 0)
            for name in ClosedEpochs.__slots__
        )
    )
    alphas = [alpha for _, mine in parts for alpha in mine]
    return contrasts(closed, _epoch(n, total), margin=margin, alphas=alphas, tstar=tstar)


def _joined(arrays: Sequence[npt.NDArray[Any]], axis: int) -> npt.NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis)


def _epoch(n: IntArray, total: IntArray) -> EpochTotals:
    return EpochTotals(*(ArmTotals(n[arm], total[arm]) for arm in (CONTROL, TREATMENT)))


def worth_a_look(before: int, after: int) -> bool:
    """Whether a mean over so many rows may say something new: their number has grown by one or two hundredths.

    A look costs the same however many rows came, and a harm that shows in a hundredth of all rows is no matter of
    milliseconds; each second's tick is a look besides. The first 127 rows are looked at as they come.

    >>> worth_a_look(100, 101), worth_a_look(100_000, 100_200), worth_a_look(100_000, 102_000)
    (True, False, True)
    """
    return _magnitude(before) != _magnitude(after)


def rows_until_a_look(rows: int) -> int:
    """How many more rows may come and be worth no look.

    >>> rows_until_a_look(100), rows_until_a_look(100_000)
    (0, 351)
    """
    follow, leading = _magnitude(rows)
    return ((leading + 1) << follow) - 1 - rows


def _magnitude(n: int) -> tuple[int, int]:
    """The first seven binary digits, and how many follow."""
    follow = max(0, n.bit_length() - 7)
    return follow, n >> follow
