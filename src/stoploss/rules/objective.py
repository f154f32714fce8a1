"""The objective: is the treatment worth it? Quality, less cost and risk at the spec's prices, in one number.

It recommends and never commands: harm is stopped by the gates, guardrails and budgets that are judged before it.
Quality and cost are shares of control's frozen means (objective_reference.py), risk is weighted harm events per trace,
late ones counted to the traces of their units. The sum's error is that of groups of units: stats/utility.py. Nothing is
stopped by it, so it is judged at ticks, and with what others have to say (decisions.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from stoploss.rules.news import Newsworthy
from stoploss.rules.objective_plan import COST, ObjectivePlan
from stoploss.rules.objective_reference import Reference
from stoploss.rules.objective_rows import Part, Scored, Waiting, column
from stoploss.rules.objective_totals import RunTotals
from stoploss.rules.objective_verdicts import verdicts
from stoploss.rules.objective_windows import NEVER, Windows, slice_of
from stoploss.rules.rows import Moment, Rows
from stoploss.rules.verdict import Verdict
from stoploss.stats.exact_sums import BLOCK_ROWS


@dataclass(slots=True)
class ObjectiveState(Newsworthy):
    """windows: None where scores count as they come; due: a tick has passed since it was last judged."""

    run: RunTotals
    windows: Windows | None
    reference: Reference = field(default_factory=Reference)
    waiting: Waiting = field(default_factory=Waiting)
    due: bool = False


@dataclass(frozen=True, slots=True)
class ObjectiveRule:
    plan: ObjectivePlan
    kind: str = field(default="objective", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "objective"

    def initial(self) -> ObjectiveState:
        return ObjectiveState(RunTotals.none(len(self.plan.events)), Windows() if self.plan.closes_after_s else None)

    def fold(self, state: ObjectiveState, rows: Rows, moment: Moment) -> None:
        keep = rows.compared & rows.capped
        if not state.reference.frozen:
            taken = state.reference.fold(rows, keep, column(rows, self.plan.quality), column(rows, COST))
            keep[:taken] = False
        if not keep.any():
            return
        if state.waiting.rows + rows.size > BLOCK_ROWS:
            self._settle(state)
        state.waiting.add(Part.of(rows, keep, moment.at, self.plan.columns))

    def _settle(self, state: ObjectiveState) -> None:
        """Folds what waits."""
        for scored in state.waiting.take(self.plan.events):
            scored.add_cost(state.run.epoch)
            if state.windows is None or not self.plan.closes_after_s:
                scored.add_told(state.run.epoch, scored.told)
            else:
                self._hold(state.windows, scored, self.plan.closes_after_s)

    def _hold(self, windows: Windows, scored: Scored, closes_after_s: int) -> None:
        slices = np.full(scored.arm.size, NEVER, np.int64)
        if scored.exposure:
            windows.expose(scored.unit, scored.at, closes_after_s)
            slices = slice_of(scored.at, closes_after_s)
        else:
            told = np.flatnonzero(scored.told)
            slices[told] = windows.slices(scored.unit[told], scored.at[told], closes_after_s)
        for number in np.unique(slices[slices != NEVER]).tolist():
            scored.add_told(windows.hold(number, len(self.plan.events)), slices == number)

    def tick(self, state: ObjectiveState, moment: Moment) -> None:
        """What waits is folded, and what windows have closed by now is judged from here on."""
        self._settle(state)
        if state.windows is not None and self.plan.closes_after_s:
            for closed in state.windows.due(moment.at, self.plan.closes_after_s):
                state.run.epoch.merge(closed)
        state.due = True

    def close_epoch(self, state: ObjectiveState, moment: Moment) -> None:
        self._settle(state)
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
