"""The twin of every guardrail: a harm that begins some time after the start, which a long clean past would hide.

A guardrail counts from the start of the run: after a million clean traces a new harm takes tens of thousands to show.
The e-SR detector (stats/e_sr.py) restarts with every batch. What it counts: events of a rate, or values worse than
control's frozen upper quartile. (At the median a shift of 0.2 standard deviations took 29,000 traces instead of 15,000:
the increments are conservative where events are common.) A batch is what a ledger second brought, carried on until both
arms are there, and never across epochs.

It learns before it judges, over the first LEARN_TRACES traces: the design effect, by which alike traces of one user are
worth less, and the relative risk that counts as unchanged. That is at least what the guardrail's margin tolerates.

The limit is PROMISED_BATCHES / alpha: within 30 days of a batch in every second, the probability of a false alarm is at
most the guardrail's alpha, beside the alpha of the guardrail itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stoploss.arrays import indices
from stoploss.commands import Evidence, round_significant
from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.rules.news import Newsworthy
from stoploss.rules.reading import SECOND, Reading, Reference
from stoploss.rules.rows import CONTROL, TREATMENT, IntArray, Moment, Rows, with_value
from stoploss.rules.verdict import Outcome, Reason, Verdict
from stoploss.segments import EVERYBODY
from stoploss.stats import e_sr, relative_risk
from stoploss.stats.floors import Floor, first_unmet

LEARN_TRACES = 100_000
LEARN_EVENTS = 100
PROMISED_BATCHES = 30 * 86_400
HOUR = 3_600
GROUPS = 256
SMALLEST = 1e-9

ROWS, EVENTS = 0, 1


def _nothing() -> IntArray:
    return np.zeros((2, 2), np.int64)


@dataclass(slots=True)
class RegressionState(Newsworthy):
    """Counts are (2, 2) int64: rows and those with an event, by arm.

    pending  of the open batch, which began in ledger second `second`
    learnt   of the closed batches while it learns; ratio: the two sums of their Mantel-Haenszel relative risk, which a
             ramp whose share and level move together does not bend
    groups   (2, GROUPS) of control within the window since `window`, a ledger second: at least an hour, or until it
             has LEARN_EVENTS events, 0 before the first row; design: the largest design effect of a window
    unchanged  the relative risk that counts as unchanged; None: still learning
    log_m    of the detector, by alternative
    since    ledger second in which the detector was last without evidence; recent: counts since
    """

    reference: Reference
    pending: IntArray = field(default_factory=_nothing)
    second: int = 0
    learnt: IntArray = field(default_factory=_nothing)
    ratio: list[float] = field(default_factory=lambda: [0.0, 0.0])
    groups: IntArray = field(default_factory=lambda: np.zeros((2, GROUPS), np.int64))
    window: int = 0
    design: float | None = None
    unchanged: float | None = None
    log_m: list[float] = field(default_factory=lambda: list(e_sr.START))
    since: int = 0
    recent: IntArray = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True)
class Regression:
    """reading: of the events that it counts; the guardrail's own where that is of a rate."""

    plan: GuardrailPlan
    reading: Reading
    kind: str = field(default="regression", init=False)
    version: int = field(default=1, init=False)

    @classmethod
    def of(cls, plan: GuardrailPlan) -> Regression:
        return cls(plan, plan.reading if plan.binary else plan.reading.worst_quarter())

    @property
    def key(self) -> str:
        return f"regression[{self.plan.index}]"

    @property
    def log_limit(self) -> float:
        return e_sr.log_threshold(updates=PROMISED_BATCHES, false_alarms=self.plan.alpha)

    def initial(self) -> RegressionState:
        return RegressionState(self.reading.begin())

    def fold(self, state: RegressionState, rows: Rows, moment: Moment) -> None:
        if EVERYBODY not in moment.due:
            return
        state.news = moment.at // SECOND != state.second
        self._close_batch(state, moment.at // SECOND)
        read = self.reading.read(state.reference, rows, moment)
        if read is not None and (x := read.metrics.get(self.plan.column)) is not None:
            state.window = state.window or moment.at // SECOND
            _count(state, read, x)

    def can_wait(self, state: RegressionState) -> int:
        """Batches are of a second."""
        return sys.maxsize

    def tick(self, state: RegressionState, moment: Moment) -> None:
        self._close_batch(state, moment.at // SECOND)

    def close_epoch(self, state: RegressionState, moment: Moment) -> None:
        """What one arm alone brought is dropped; whether or not the second is over, the epoch is."""
        self._score(state, moment.at // SECOND)
        state.pending = _nothing()

    def _close_batch(self, state: RegressionState, second: int) -> None:
        if second != state.second:
            self._score(state, second)
            state.second = second

    def _score(self, state: RegressionState, second: int) -> None:
        if not (state.pending[ROWS] > 0).all():
            return
        if state.unchanged is None:
            (n_c, n_t), (x_c, x_t) = state.pending.tolist()
            terms = relative_risk.mantel_haenszel_terms(n_c, x_c, n_t, x_t)
            state.ratio = [total + term for total, term in zip(state.ratio, terms, strict=True)]
            state.learnt = state.learnt + state.pending
            self._learn(state, second)
        else:
            self._detect(state, second)
        state.pending = _nothing()

    def _learn(self, state: RegressionState, second: int) -> None:
        """Closes the window of the design effect when it is full, and the learning when everything is there."""
        enough = all(floor.met for floor in _floors(state))
        if state.groups[EVENTS].sum() >= LEARN_EVENTS and (enough or second - state.window >= HOUR):
            found = e_sr.design_effect(state.groups[EVENTS].tolist(), state.groups[ROWS].tolist())
            state.design = max(found or 1.0, state.design or 1.0)
            state.groups, state.window = np.zeros_like(state.groups), second
        if enough:
            state.unchanged = max(self._tolerated(state.reference), _usual_ratio(state))
            state.since = second

    def _tolerated(self, reference: Reference) -> float:
        """The relative risk that the guardrail's margin allows.

        Of a rate it is the margin. Else: what share of control's reference would be worse than the threshold if every
        value were worse by the margin, against the share that is.
        """
        if self.plan.binary or reference.limit is None:
            return self.plan.rr0
        sign, margin = self.reading.sign, self.plan.margin
        values = sign * reference.values.astype(np.float64)
        shifted = sign * (margin.control_scale * reference.values) + margin.absolute
        usual = int(np.count_nonzero(values > sign * reference.limit))
        return max(1.0, int(np.count_nonzero(shifted > sign * reference.limit)) / max(1, usual))

    def _detect(self, state: RegressionState, second: int) -> None:
        (n_c, n_t), (x_c, x_t) = state.pending.tolist()
        assert state.unchanged is not None
        step = e_sr.log_increment(n_c, x_c, n_t, x_t, rr0=state.unchanged, design_effect=state.design or 1.0)
        state.log_m = list(e_sr.step(state.log_m, step))
        state.recent = state.recent + state.pending
        if e_sr.log_m(state.log_m) <= 0:
            state.since, state.recent = second, _nothing()

    def judge(self, state: RegressionState, moment: Moment) -> Iterator[Verdict]:
        if EVERYBODY not in moment.due:
            return
        detail = self.reading.words(state.reference)
        if state.unchanged is None:
            floor = self.reading.floor(state.reference) or first_unmet(_floors(state))
            told = partial(self._evidence, state.learnt, None)
            yield Verdict("everybody", Outcome.UNDECIDED, Reason.LEARNING, told, floor=floor, detail=detail)
            return
        log_m = e_sr.log_m(state.log_m)
        told = partial(self._evidence, state.recent, log_m if log_m > -np.inf else None)
        if log_m >= self.log_limit:
            words = f"{detail}, " if detail else ""
            words += f"since about {max(0, moment.at // SECOND - state.since):,} s ago"
            response = self.plan.response(None)
            yield Verdict("everybody", Outcome.BREACH, Reason.REGRESSED, told, response, detail=words)
        else:
            yield Verdict("everybody", Outcome.OK, Reason.STEADY, told, detail=detail)

    def _evidence(self, counts: IntArray, log_m: float | None) -> Evidence:
        """Both numbers compared, and the arms' rates since the detector was last without evidence."""
        (n_c, n_t), (x_c, x_t) = counts.tolist()
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=self.plan.metric,
            statistic="log of the change detector",
            observed=round_significant(log_m),
            bound=round_significant(self.log_limit),
            control=round_significant(x_c / n_c) if n_c else None,
            treatment=round_significant(x_t / n_t) if n_t else None,
            n_control=n_c,
            n_treatment=n_t,
        )


def _count(state: RegressionState, read: Rows, x: IntArray) -> None:
    counted, x = with_value(read.counted(EVERYBODY), x)
    table = np.bincount(counted.arm + 2 * x, minlength=4).reshape(2, 2)
    state.pending[ROWS] += table[0] + table[1]
    state.pending[EVENTS] += table[1]
    if state.unchanged is None:
        control = indices(counted.arm == CONTROL)
        group = (counted.unit[control] & np.uint64(GROUPS - 1)).astype(np.int64)
        added = np.bincount(group + GROUPS * x[control], minlength=2 * GROUPS).reshape(2, GROUPS)
        state.groups[ROWS] += added[0] + added[1]
        state.groups[EVENTS] += added[1]


def _usual_ratio(state: RegressionState) -> float:
    """Upper limit of the relative risk that was seen while it learnt, put on the ratio of the batches."""
    (n_c, n_t), (x_c, x_t) = state.learnt.tolist()
    upper = e_sr.frozen_rr0(x_c, n_c, x_t, n_t, design_effect=state.design or 1.0, at_least=SMALLEST)
    within = relative_risk.relative_risk(*state.ratio)
    assert upper is not None
    return upper * within / (x_t * n_c / (n_t * x_c)) if x_t and within is not None else upper


def _floors(state: RegressionState) -> tuple[Floor, ...]:
    """What it learns from."""
    return (
        Floor("traces to learn what is usual from", int(state.learnt[ROWS].sum()), LEARN_TRACES),
        Floor("events of control to learn what is usual from", int(state.learnt[EVENTS, CONTROL]), LEARN_EVENTS),
        Floor("traces of the treatment to learn what is usual from", int(state.learnt[ROWS, TREATMENT]), 1),
    )
