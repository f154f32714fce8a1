"""What the objective keeps of its terms: exact totals by arm and group of units, of the open epoch and of the run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stoploss.rules.group_totals import GROUPS_OF_EVERYBODY
from stoploss.rules.rows import CONTROL, TREATMENT, IntArray, Mask, UnitArray
from stoploss.stats.contrast import ArmTotals, ClosedEpochs, EpochTotals, Margin, close_epoch
from stoploss.stats.utility import Term, term
from stoploss.units import DistinctUnits

ARMS = (CONTROL, TREATMENT)


@dataclass(slots=True)
class Sums:
    """One column.

    n, total  (2, GROUPS) int64: rows, and the sum of their values in integer units, by arm and group
    units     distinct units with a row
    """

    n: IntArray
    total: IntArray
    units: DistinctUnits

    @classmethod
    def none(cls) -> Sums:
        shape = (2, GROUPS_OF_EVERYBODY)
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64), DistinctUnits.none(1))

    def add(self, arm: IntArray, unit: UnitArray, x: IntArray) -> None:
        key = arm * GROUPS_OF_EVERYBODY + (unit % np.uint64(GROUPS_OF_EVERYBODY)).astype(np.int64)
        self.n += np.bincount(key, minlength=self.n.size).reshape(self.n.shape)
        self.total += np.bincount(key, x, minlength=self.n.size).astype(np.int64).reshape(self.n.shape)
        self.units.add(arm, np.zeros_like(arm), unit)

    def merge(self, other: Sums) -> None:
        self.n, self.total = self.n + other.n, self.total + other.total
        self.units.taken |= other.units.taken

    def per_row_of(self, whole: Sums) -> EpochTotals:
        """The values of these rows per row of another: events per trace."""
        arms = (ArmTotals(whole.n[arm : arm + 1], self.total[arm : arm + 1]) for arm in ARMS)
        return EpochTotals(*arms)


@dataclass(slots=True)
class Totals:
    """All columns.

    exposed  traces of which it is known whether harm was done; their values are 0
    harms    rows with a harm event, one of these for each event of the spec; their values are 1
    first    by arm: first traces of units
    risky    by event and arm: those with the event; where it comes as an outcome, all events
    """

    quality: Sums
    cost: Sums
    exposed: Sums
    harms: list[Sums]
    first: list[int]
    risky: list[list[int]]

    @classmethod
    def none(cls, events: int) -> Totals:
        harms = [Sums.none() for _ in range(events)]
        return cls(Sums.none(), Sums.none(), Sums.none(), harms, [0, 0], [[0, 0] for _ in range(events)])

    @property
    def columns(self) -> list[Sums]:
        return [self.quality, self.cost, self.exposed, *self.harms]

    def add_first(self, arm: IntArray, first: Mask) -> None:
        self.first = [n + int(np.count_nonzero(first & (arm == side))) for side, n in enumerate(self.first)]

    def add_risky(self, event: int, arm: IntArray, risky: Mask) -> None:
        before = self.risky[event]
        self.risky[event] = [n + int(np.count_nonzero(risky & (arm == side))) for side, n in enumerate(before)]

    def merge(self, other: Totals) -> None:
        for mine, theirs in zip(self.columns, other.columns, strict=True):
            mine.merge(theirs)
        counted = [(self.first, other.first), *zip(self.risky, other.risky, strict=True)]
        for counts, more in counted:
            for arm in ARMS:
                counts[arm] += more[arm]


@dataclass(slots=True)
class RunTotals:
    """All columns over a run.

    epoch   of the open epoch; past: of all epochs before it, for floors and for people to read
    quality, cost, harms  what a contrast keeps of the epochs before
    """

    epoch: Totals
    past: Totals
    quality: ClosedEpochs
    cost: ClosedEpochs
    harms: list[ClosedEpochs]

    @classmethod
    def none(cls, events: int) -> RunTotals:
        closed = [ClosedEpochs.none(1, GROUPS_OF_EVERYBODY) for _ in range(2 + events)]
        return cls(Totals.none(events), Totals.none(events), closed[0], closed[1], closed[2:])

    @property
    def events(self) -> int:
        return len(self.harms)

    def close_epoch(self) -> None:
        harms = [self._harm(event) for event in range(self.events)]
        self.quality, self.cost, self.harms = self._quality(), self._cost(), harms
        self.past.merge(self.epoch)
        self.epoch = Totals.none(self.events)

    def _quality(self) -> ClosedEpochs:
        return close_epoch(self.quality, self.epoch.quality.per_row_of(self.epoch.quality), Margin())

    def _cost(self) -> ClosedEpochs:
        return close_epoch(self.cost, self.epoch.cost.per_row_of(self.epoch.cost), Margin())

    def _harm(self, event: int) -> ClosedEpochs:
        return close_epoch(self.harms[event], self.epoch.harms[event].per_row_of(self.epoch.exposed), Margin())

    # Differences of the arms over all epochs; None while no epoch has two occupied groups of units in both.

    def quality_term(self) -> Term | None:
        return term(self._quality())

    def cost_term(self) -> Term | None:
        return term(self._cost())

    def harm_terms(self) -> list[Term | None]:
        """Events per trace, for each event of the spec."""
        return [term(self._harm(event)) for event in range(self.events)]

    def whole(self) -> Totals:
        """Of the whole run, for floors and for people to read."""
        whole = Totals.none(self.events)
        whole.merge(self.past)
        whole.merge(self.epoch)
        return whole


def rows_of(sums: Sums) -> tuple[int, int]:
    """Rows of control and of treatment."""
    return int(sums.n[CONTROL].sum()), int(sums.n[TREATMENT].sum())


def units_of(sums: Sums) -> tuple[int, int]:
    """Distinct units of control and of treatment."""
    counts = sums.units.counts()
    return int(counts[CONTROL, 0]), int(counts[TREATMENT, 0])


def means_of(sums: Sums, whole: Sums) -> tuple[float | None, float | None]:
    """Values per row of another column, of control and of treatment, in integer units; None is no data."""
    n = rows_of(whole)
    control, treatment = (int(sums.total[arm].sum()) / n[arm] if n[arm] else None for arm in ARMS)
    return control, treatment
