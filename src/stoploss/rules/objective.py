"""The objective: is the treatment worth it? Quality, less cost and risk at the spec's prices, in one number.

It recommends and never commands: harm is stopped by the gates, guardrails and budgets that are judged before it.
Quality and cost are shares of control's frozen means (objective_reference.py), risk is weighted harm events per trace,
a late one counted to its unit's traces. The sum's error is that of groups of units: stats/utility.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from stoploss.metrics import MISSING
from stoploss.rules.objective_plan import COST, ObjectivePlan, RiskColumn
from stoploss.rules.objective_reference import Reference
from stoploss.rules.objective_totals import RunTotals, Totals
from stoploss.rules.objective_verdicts import verdicts
from stoploss.rules.objective_windows import NEVER, Windows
from stoploss.rules.rows import IntArray, Mask, Moment, Rows
from stoploss.rules.verdict import Verdict


@dataclass(slots=True)
class ObjectiveState:
    """windows: None where scores count as they come."""

    windows: Windows | None
    reference: Reference = field(default_factory=Reference)
    run: RunTotals = field(default_factory=RunTotals)


@dataclass(frozen=True, slots=True)
class ObjectiveRule:
    plan: ObjectivePlan
    kind: str = field(default="objective", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "objective"

    def initial(self) -> ObjectiveState:
        return ObjectiveState(Windows() if self.plan.closes_after_s else None)

    def fold(self, state: ObjectiveState, rows: Rows, moment: Moment) -> None:
        keep = rows.compared & rows.capped
        quality, cost = _column(rows, self.plan.quality), _column(rows, COST)
        if not state.reference.frozen:
            keep[: state.reference.fold(rows, keep, quality, cost)] = False
        if not keep.any():
            return
        paid = keep & (cost != MISSING)
        state.run.epoch.cost.add(rows.arm[paid], rows.unit[paid], cost[paid])
        scored = _Scored.of(rows, keep, quality, self.plan.events)
        if state.windows is None or not self.plan.closes_after_s:
            scored.add_to(state.run.epoch, scored.any)
        else:
            self._hold(state.windows, scored, keep, moment.at, self.plan.closes_after_s)

    def _hold(self, windows: Windows, scored: _Scored, keep: Mask, at: int, closes_after_s: int) -> None:
        rows, wanted = scored.rows, np.flatnonzero(scored.any)
        if rows.exposure:
            windows.expose(rows.unit[keep], at, closes_after_s)
        slices = np.full(rows.size, NEVER, np.int64)
        slices[wanted] = windows.slices(rows.unit[wanted], at, closes_after_s)
        for number in np.unique(slices[slices != NEVER]).tolist():
            scored.add_to(windows.hold(number), slices == number)

    def tick(self, state: ObjectiveState, moment: Moment) -> None:
        """What windows have closed by now is judged from here on."""
        if state.windows is not None and self.plan.closes_after_s:
            for closed in state.windows.due(moment.at, self.plan.closes_after_s):
                state.run.epoch.merge(closed)

    def close_epoch(self, state: ObjectiveState, moment: Moment) -> None:
        if state.windows is not None:
            state.windows.end_epoch()
        state.run.close_epoch()

    def judge(self, state: ObjectiveState, moment: Moment) -> Iterator[Verdict]:
        yield from verdicts(self.kind, self.version, self.plan, state.reference, state.run)

    def take_refused(self, state: ObjectiveState) -> dict[str, int]:
        """Scores that will never be judged, by cause, since this was last asked."""
        if state.windows is None:
            return {}
        refused, state.windows.refused = state.windows.refused, {}
        return refused


@dataclass(frozen=True, slots=True)
class _Scored:
    """Rows and what they tell of quality and risk; all masks are of rows that may be compared and count.

    judged  rows with a score
    known   traces of which it is known whether they had the harm events that a trace tells of
    risk    weighted harm events of each row, in integers
    harmed  outcomes that are a harm event
    """

    rows: Rows
    quality: IntArray
    risk: IntArray
    judged: Mask
    known: Mask
    harmed: Mask

    @classmethod
    def of(cls, rows: Rows, keep: Mask, quality: IntArray, events: tuple[RiskColumn, ...]) -> _Scored:
        risk, known = np.zeros(rows.size, np.int64), keep & rows.exposure
        for event in events:
            x = _column(rows, event.column)
            if not event.by_outcome:
                known &= x != MISSING
            risk += np.where(x > 0, event.weight, 0)
        harmed = keep & (risk > 0) & (not rows.exposure)
        return cls(rows, quality, risk, keep & (quality != MISSING), known, harmed)

    @property
    def any(self) -> Mask:
        some: Mask = self.judged | self.known | self.harmed
        return some

    def add_to(self, totals: Totals, chosen: Mask) -> None:
        """Folds the chosen rows."""
        arm, unit = self.rows.arm, self.rows.unit
        judged, known, harmed = self.judged & chosen, self.known & chosen, self.harmed & chosen
        totals.quality.add(arm[judged], unit[judged], self.quality[judged])
        totals.risk.add(arm[known], unit[known], self.risk[known])
        totals.risk.add(arm[harmed], unit[harmed], self.risk[harmed], counted=False)
        first = known & self.rows.first
        totals.add_first(arm, first, harmed | (first & (self.risk > 0)))


def _column(rows: Rows, name: str) -> IntArray:
    found = rows.metrics.get(name)
    return np.full(rows.size, MISSING, np.int64) if found is None else found
