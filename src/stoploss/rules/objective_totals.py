"""What the objective keeps of its terms: exact totals by arm and group of units, of the open epoch and of the run."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stoploss.rules.group_totals import GROUPS_OF_EVERYBODY
from stoploss.rules.rows import CONTROL, TREATMENT, IntArray, Mask, UnitArray
from stoploss.stats.contrast import ArmTotals, ClosedEpochs, EpochTotals, Margin, close_epoch
from stoploss.stats.utility import Term, term
from stoploss.units import DistinctUnits

TERMS = ("quality", "cost", "risk")


@dataclass(slots=True)
class Sums:
    """One term.

    n, total  (2, GROUPS) int64: rows, and the sum of their values in integer units, by arm and group
    units     distinct units with a row; events: those with a value other than 0
    """

    n: IntArray
    total: IntArray
    units: DistinctUnits
    events: DistinctUnits

    @classmethod
    def none(cls) -> Sums:
        shape = (2, GROUPS_OF_EVERYBODY)
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64), DistinctUnits.none(1), DistinctUnits.none(1))

    def add(self, arm: IntArray, unit: UnitArray, x: IntArray, *, counted: bool = True) -> None:
        """Adds rows. Not counted: they only add to the values of rows that were, as a complaint does to its trace."""
        key = arm * GROUPS_OF_EVERYBODY + (unit % np.uint64(GROUPS_OF_EVERYBODY)).astype(np.int64)
        cell = np.zeros_like(arm)
        if counted:
            self.n += np.bincount(key, minlength=self.n.size).reshape(self.n.shape)
            self.units.add(arm, cell, unit)
        self.total += np.bincount(key, x, minlength=self.n.size).astype(np.int64).reshape(self.n.shape)
        event = x != 0
        self.events.add(arm[event], cell[event], unit[event])

    def merge(self, other: Sums) -> None:
        self.n, self.total = self.n + other.n, self.total + other.total
        self.units.taken |= other.units.taken
        self.events.taken |= other.events.taken

    @property
    def epoch(self) -> EpochTotals:
        arms = (ArmTotals(self.n[arm : arm + 1], self.total[arm : arm + 1]) for arm in (CONTROL, TREATMENT))
        return EpochTotals(*arms)


@dataclass(slots=True)
class Totals:
    """All terms.

    first  by arm: first traces of units; risky: those with a harm event, and every harm event that came as an outcome
    """

    quality: Sums = field(default_factory=Sums.none)
    cost: Sums = field(default_factory=Sums.none)
    risk: Sums = field(default_factory=Sums.none)
    first: list[int] = field(default_factory=lambda: [0, 0])
    risky: list[int] = field(default_factory=lambda: [0, 0])

    def of(self, name: str) -> Sums:
        return {"quality": self.quality, "cost": self.cost, "risk": self.risk}[name]

    def add_first(self, arm: IntArray, first: Mask, risky: Mask) -> None:
        for side in (CONTROL, TREATMENT):
            self.first[side] += int(np.count_nonzero(first & (arm == side)))
            self.risky[side] += int(np.count_nonzero(risky & (arm == side)))

    def merge(self, other: Totals) -> None:
        for name in TERMS:
            self.of(name).merge(other.of(name))
        self.first = [mine + theirs for mine, theirs in zip(self.first, other.first, strict=True)]
        self.risky = [mine + theirs for mine, theirs in zip(self.risky, other.risky, strict=True)]


@dataclass(slots=True)
class RunTotals:
    """All terms over a run.

    epoch   of the open epoch; past: of all epochs before it, for floors and for people to read
    closed  what the contrast keeps of the epochs before, by term
    """

    epoch: Totals = field(default_factory=Totals)
    past: Totals = field(default_factory=Totals)
    closed: dict[str, ClosedEpochs] = field(
        default_factory=lambda: {name: ClosedEpochs.none(1, GROUPS_OF_EVERYBODY) for name in TERMS}
    )

    def close_epoch(self) -> None:
        self.closed = {name: self._combined(name) for name in TERMS}
        self.past.merge(self.epoch)
        self.epoch = Totals()

    def _combined(self, name: str) -> ClosedEpochs:
        return close_epoch(self.closed[name], self.epoch.of(name).epoch, Margin())

    def term(self, name: str) -> Term | None:
        """The difference of the arms; None while no epoch has two occupied groups of units in both."""
        return term(self._combined(name))

    def rows(self, name: str) -> tuple[int, int]:
        """Rows of control and of treatment."""
        n = self.past.of(name).n.sum(axis=1) + self.epoch.of(name).n.sum(axis=1)
        return int(n[CONTROL]), int(n[TREATMENT])

    def means(self, name: str) -> tuple[float | None, float | None]:
        """Means of control and of treatment in integer units; None is no data."""
        total = self.past.of(name).total.sum(axis=1) + self.epoch.of(name).total.sum(axis=1)
        rows = self.rows(name)
        return tuple(int(total[arm]) / rows[arm] if rows[arm] else None for arm in (CONTROL, TREATMENT))  # type: ignore[return-value]

    def units(self, name: str) -> tuple[int, int]:
        """Distinct units of control and of treatment that have a row."""
        return _distinct(self.past.of(name).units, self.epoch.of(name).units)

    def event_units(self, name: str) -> tuple[int, int]:
        """Those with a value other than 0."""
        return _distinct(self.past.of(name).events, self.epoch.of(name).events)

    def first(self, arm: int) -> tuple[int, int]:
        """First traces of an arm's units, and how many of them had a harm event."""
        first = self.past.first[arm] + self.epoch.first[arm]
        return first, min(first, self.past.risky[arm] + self.epoch.risky[arm])


def _distinct(*parts: DistinctUnits) -> tuple[int, int]:
    both = DistinctUnits(np.logical_or.reduce([part.taken for part in parts])).counts()
    return int(both[CONTROL, 0]), int(both[TREATMENT, 0])
