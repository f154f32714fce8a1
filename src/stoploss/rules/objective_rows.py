"""Rows on their way into the objective: kept as they came, and folded together, since sums are exact."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from stoploss.commands import Micros
from stoploss.metrics import MISSING
from stoploss.rules.objective_plan import RiskColumn
from stoploss.rules.objective_totals import Totals
from stoploss.rules.rows import IntArray, Mask, Rows, UnitArray


@dataclass(slots=True)
class Part:
    """The rows of one ledger entry that may be compared and count.

    exposure  true: rows of traces, false: of outcomes
    at        ledger time
    columns   quality, cost, and one for each risk event; metrics.MISSING where a row has none
    """

    exposure: bool
    at: Micros
    arm: IntArray
    unit: UnitArray
    first: Mask
    columns: list[IntArray]

    @classmethod
    def of(cls, rows: Rows, keep: Mask, at: Micros, names: tuple[str, ...]) -> Part:
        columns = [column(rows, name)[keep] for name in names]
        return cls(rows.exposure, at, rows.arm[keep], rows.unit[keep], rows.first[keep], columns)

    @property
    def size(self) -> int:
        return int(self.arm.size)


@dataclass(slots=True)
class Waiting:
    """Parts that wait for the next tick, in order; at most so many rows that their sums are exact."""

    parts: list[Part] = field(default_factory=list)
    rows: int = 0

    def add(self, part: Part) -> None:
        self.parts.append(part)
        self.rows += part.size

    def take(self, events: tuple[RiskColumn, ...]) -> list[Scored]:
        """What waited, in order, neighbours of one kind together."""
        parts, self.parts, self.rows = self.parts, [], 0
        return [Scored.of(list(alike), events) for _, alike in groupby(parts, key=lambda part: part.exposure)]


@dataclass(frozen=True, slots=True)
class Scored:
    """Rows of one kind, and what they tell of quality, cost and harm.

    at      ledger time of each row
    judged  rows with a score; paid: with a cost
    known   traces of which it is known whether they had the harm events that a trace tells of
    harmed  by event: traces that are known to have it, or outcomes that are one
    """

    exposure: bool
    at: IntArray
    arm: IntArray
    unit: UnitArray
    first: Mask
    quality: IntArray
    cost: IntArray
    judged: Mask
    paid: Mask
    known: Mask
    harmed: tuple[Mask, ...]

    @classmethod
    def of(cls, parts: list[Part], events: tuple[RiskColumn, ...]) -> Scored:
        exposure = parts[0].exposure
        quality, cost, *told = (np.concatenate(columns) for columns in zip(*(p.columns for p in parts), strict=True))
        known = np.full(quality.size, exposure)
        for event, x in zip(events, told, strict=True):
            if not event.by_outcome:
                known &= x != MISSING
        counted = known if exposure else np.ones(quality.size, np.bool_)
        return cls(
            exposure=exposure,
            at=np.repeat([part.at for part in parts], [part.size for part in parts]),
            arm=np.concatenate([part.arm for part in parts]),
            unit=np.concatenate([part.unit for part in parts]),
            first=np.concatenate([part.first for part in parts]),
            quality=quality,
            cost=cost,
            judged=quality != MISSING,
            paid=cost != MISSING,
            known=known,
            harmed=tuple(counted & (x > 0) for x in told),
        )

    @property
    def told(self) -> Mask:
        """Rows that tell of quality or harm, which may be late; cost never is."""
        some: Mask = np.logical_or.reduce([self.judged, self.known, *self.harmed])
        return some

    def add_cost(self, totals: Totals) -> None:
        totals.cost.add(self.arm[self.paid], self.unit[self.paid], self.cost[self.paid])

    def add_told(self, totals: Totals, chosen: Mask) -> None:
        """Folds what the chosen rows tell."""
        judged, known = self.judged & chosen, self.known & chosen
        totals.quality.add(self.arm[judged], self.unit[judged], self.quality[judged])
        totals.exposed.add(self.arm[known], self.unit[known], np.zeros(np.count_nonzero(known), np.int64))
        totals.add_first(self.arm, known & self.first)
        for event, harmed in enumerate(self.harmed):
            mine = harmed & chosen
            if mine.any():
                totals.harms[event].add(self.arm[mine], self.unit[mine], np.ones(np.count_nonzero(mine), np.int64))
                totals.add_risky(event, self.arm, mine & self.first if self.exposure else mine)


def column(rows: Rows, name: str) -> IntArray:
    found = rows.metrics.get(name)
    return np.full(rows.size, MISSING, np.int64) if found is None else found
