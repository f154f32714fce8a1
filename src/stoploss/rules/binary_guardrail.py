"""Guardrail on a rate, or on the share of traces beyond a threshold, as two streams; either may speak.

Each has half the error budget:

(i)  exact: the relative-risk e-process on the first trace of each unit, quick at gross harm (stats/relative_risk.py);
     rows are batched by ledger second and carried until both arms are present, never across epochs.
(ii) robust: the contrast of the 0/1 metric over all traces, by groups of units, quick at small harm in busy units.

Where each trace is its own unit, (i) alone has the whole budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stoploss.arrays import indices
from stoploss.commands import Evidence
from stoploss.metrics import MISSING
from stoploss.rules.cell_looks import ROOM, CellLook, Looker, Looking, Looks, Seen, Sure, Sureness, sureness
from stoploss.rules.group_totals import GroupTotals, rows_until_a_look, worth_a_look
from stoploss.rules.guardrail import contrast_evidence, decide
from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.rules.news import Newsworthy
from stoploss.rules.reading import Reference
from stoploss.rules.rows import CONTROL, TREATMENT, IntArray, Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Verdict
from stoploss.segments import EVERYBODY, NO_CELL, Dimension, grown
from stoploss.stats import relative_risk
from stoploss.stats.bonferroni import log_limit
from stoploss.stats.contrast import NoContrast
from stoploss.stats.floors import (
    LEAST_EVENTS,
    MINIMUM_EFFECTIVE_GROUPS,
    MOST_EVENTS,
    Floor,
    breach_event_floor,
    first_unmet,
    groups_floor,
    safe_event_floor,
)

SECOND = 1_000_000
Logs = Sequence[float]


@dataclass(slots=True)
class FirstTraces:
    """Stream (i) of one dimension.

    pending  (2, 2, cells) int64: units and events by arm and cell, not yet scored
    harm, safe  running logs of the evidence by cell, one number per alternative; cells without any are absent
    second   ledger second that pending belongs to, or began in
    scored   cells with new evidence since they were judged last
    """

    pending: IntArray
    harm: dict[int, list[float]] = field(default_factory=dict)
    safe: dict[int, list[float]] = field(default_factory=dict)
    second: int = 0
    scored: set[int] = field(default_factory=set, compare=False, metadata={"transient": True})

    @classmethod
    def none(cls) -> FirstTraces:
        return cls(np.zeros((2, 2, 1), np.int64))

    def fold(self, rows: Rows, dimension: Dimension, column: str) -> None:
        x = rows.metrics.get(column)
        if x is None or not rows.exposure:
            return
        index = rows.first_compared
        arm, cell, x = rows.arm[index], rows.cells[dimension.name][index], x[index]
        keep = (x != MISSING) & (cell != NO_CELL)
        if not keep.any():
            return
        arm, cell, x = arm[keep], cell[keep], x[keep]
        if (more := grown(int(cell.max()) + 1, self.pending.shape[2]) - self.pending.shape[2]) > 0:
            self.pending = np.pad(self.pending, ((0, 0), (0, 0), (0, more)))
        np.add.at(self.pending, (0, arm, cell), 1)
        np.add.at(self.pending, (1, arm, cell), x)

    def close_second(self, second: int, rr0: float) -> None:
        """Scores what the seconds before brought, in the cells where both arms are present."""
        if second == self.second:
            return
        self.second = second
        units, events = self.pending
        for cell in indices((units[CONTROL] > 0) & (units[TREATMENT] > 0)).tolist():
            # Without an event each alternative is as likely as the null hypothesis: nothing to add.
            if events[:, cell].any():
                self._score(cell, [*units[:, cell].tolist(), *events[:, cell].tolist()], rr0)
            self.pending[:, :, cell] = 0

    def _score(self, cell: int, counts: list[int], rr0: float) -> None:
        n_c, n_t, x_c, x_t = counts
        self.scored.add(cell)
        for logs, step in (
            (self.harm, relative_risk.log_increment(n_c, x_c, n_t, x_t, rr0=rr0)),
            (self.safe, relative_risk.safe_log_increment(n_c, x_c, n_t, x_t, rr0=rr0)),
        ):
            logs[cell] = list(relative_risk.accumulate(logs.get(cell, relative_risk.NO_EVIDENCE), step))

    def drop_pending(self) -> None:
        self.pending = np.zeros_like(self.pending)

    def logs(self, cell: int) -> tuple[Logs, Logs]:
        """Running logs of the evidence of harm and of safety."""
        none = relative_risk.NO_EVIDENCE
        return self.harm.get(cell, none), self.safe.get(cell, none)


@dataclass(slots=True)
class BinaryState(Newsworthy):
    """last: what was looked at last. It is worth a look where rows have come, or evidence of the exact stream has."""

    first: dict[str, FirstTraces]
    totals: dict[str, GroupTotals]
    reference: Reference
    last: Looks = field(default_factory=Looks, metadata={"transient": True})


@dataclass(frozen=True, slots=True)
class BinaryGuardrail:
    plan: GuardrailPlan
    kind: str = field(default="guardrail", init=False)
    version: int = field(default=2, init=False)

    @property
    def key(self) -> str:
        return f"guardrail[{self.plan.index}]"

    @property
    def share(self) -> float:
        """Part of the error budget of each stream."""
        return 1.0 if self.plan.per_trace else 0.5

    def initial(self) -> BinaryState:
        names = self.plan.dimensions
        first, totals = {n: FirstTraces.none() for n in names}, {n: GroupTotals.none(n) for n in names}
        return BinaryState(first, totals, self.plan.reading.begin())

    def fold(self, state: BinaryState, rows: Rows, moment: Moment) -> None:
        second, read = moment.at // SECOND, self.plan.reading.read(state.reference, rows, moment)
        before, scored = state.totals[EVERYBODY].rows, state.first[EVERYBODY].second
        for name in moment.due:
            if name not in state.totals:
                continue
            state.first[name].close_second(second, self.plan.rr0)
            if read is not None:
                state.first[name].fold(read, moment.dimensions[name], self.plan.column)
                state.totals[name].fold(read, moment.dimensions[name], self.plan.column, events=True)
        if EVERYBODY in moment.due:
            state.news = scored != second or worth_a_look(before, state.totals[EVERYBODY].rows)

    def can_wait(self, state: BinaryState) -> int:
        """The exact stream scores at the end of a second."""
        return rows_until_a_look(state.totals[EVERYBODY].rows)

    def tick(self, state: BinaryState, moment: Moment) -> None:
        for first in state.first.values():
            first.close_second(moment.at // SECOND, self.plan.rr0)

    def close_epoch(self, state: BinaryState, moment: Moment) -> None:
        for first in state.first.values():
            first.close_second(-1, self.plan.rr0)
            first.drop_pending()
        for totals in state.totals.values():
            totals.close_epoch(self.plan.margin)

    def looking(self, state: BinaryState) -> Looking:
        return Looking(Looker(self.plan, self._sure, self.share), state.totals, state.last)

    def judge(self, state: BinaryState, moment: Moment) -> Iterator[Verdict]:
        unfrozen, words = self.plan.reading.floor(state.reference), self.plan.reading.words(state.reference)
        scored = {name: first.scored for name, first in state.first.items()}
        for one in self.looking(state).looker.looks(state.totals, moment, state.last, scored):
            exact = state.first[one.segment.dimension if one.segment else EVERYBODY].logs(one.cell)
            outcome, reason, told, floor = self._decide(exact, one)
            yield Verdict(one.stream, outcome, reason, told, self.plan.response(one.segment), unfrozen or floor, words)

    def _sure(self, seen: Seen) -> Sureness:
        """What _robust says of each cell for certain."""
        if self.plan.per_trace:
            return np.full(seen.silent.size, Sure.BETWEEN, np.int8)
        screen, (_, units), (control_events, events) = seen.screen, seen.units, seen.with_event
        expected = units * np.minimum(control_events, seen.units[CONTROL]) / np.maximum(seen.units[CONTROL], 1)
        too_few = (events < LEAST_EVENTS) & (ROOM * expected < LEAST_EVENTS)
        return sureness(
            between=seen.silent & (events >= MOST_EVENTS),
            safe=screen.safe & seen.grounded & (expected > ROOM * MOST_EVENTS),
            below=screen.there & (too_few | (ROOM * screen.n_eff < MINIMUM_EFFECTIVE_GROUPS)),
        )

    def _decide(
        self, exact: tuple[Logs, Logs], one: CellLook
    ) -> tuple[Outcome, Reason, partial[Evidence], Floor | None]:
        """Harm of either stream, then safety of either, then which number is missing."""
        told = partial(contrast_evidence, self.kind, self.version, self.plan, one)
        limit = log_limit(one.alpha, 1.0)
        harm, safe = exact
        exactly = partial(_exact_evidence, told, "harm", harm, limit)
        if relative_risk.reaches(harm, limit):
            return Outcome.BREACH, Reason.EVIDENCE_ABOVE_LIMIT, exactly, None
        outcome, reason, floor = self._robust(one)
        if outcome != Outcome.BREACH and relative_risk.reaches(safe, limit):
            of_safety = partial(_exact_evidence, told, "safety", safe, limit)
            return Outcome.SAFE, Reason.EVIDENCE_OF_SAFETY, of_safety, None
        if outcome == Outcome.SAFE:
            return outcome, reason, partial(told, safe=True), floor
        return outcome, reason, told if outcome == Outcome.BREACH else exactly, floor

    def _robust(self, one: CellLook) -> tuple[Outcome, Reason, Floor | None]:
        if self.plan.per_trace:
            return Outcome.UNDECIDED, Reason.EVIDENCE_BETWEEN, None
        harm_floor = breach_event_floor(event_units_treatment=one.with_event[TREATMENT], alpha=one.alpha)
        if one.silent and harm_floor.met:
            return Outcome.UNDECIDED, Reason.EVIDENCE_BETWEEN, None
        safe_floor = self._safe_floor(one)
        if one.silent:
            reason = Reason.EVIDENCE_BETWEEN if safe_floor.met else Reason.BELOW_FLOOR
            return Outcome.UNDECIDED, reason, harm_floor
        contrast = one.contrast
        if isinstance(contrast, NoContrast):
            return Outcome.UNDECIDED, Reason.NO_CONTRAST, first_unmet((harm_floor,))
        groups = groups_floor(contrast.n_eff)
        harm_unmet, safe_unmet = first_unmet((harm_floor, groups)), first_unmet((safe_floor, groups))
        outcome, reason = decide(contrast, harm_floor=harm_unmet, safe_floor=safe_unmet)
        return outcome, reason, harm_unmet if outcome == Outcome.UNDECIDED else None

    def _safe_floor(self, one: CellLook) -> Floor:
        # Each count is a lower bound, so a share of them could exceed 1 where slots collide: hold it at the units.
        return safe_event_floor(
            units_treatment=one.units[TREATMENT],
            units_control=one.units[CONTROL],
            event_units_control=min(one.with_event[CONTROL], one.units[CONTROL]),
            alpha=one.alpha,
        )


def _exact_evidence(told: partial[Evidence], of: str, logs: Logs, limit: float) -> Evidence:
    return told(instead=(f"log e of {of}, first traces", relative_risk.log_e(logs), limit))
