"""Alignment: does the score that is optimised still go with the result that matters?

Two looks. The contrasts of both between the arms: one clearly up and the other clearly down is Goodhart's law at work.
And their correlation over groups of users, within each arm: sums by group need no pairing of the two, so it does not
matter that results come days later. The correlation is looked at whenever the results have doubled, and look j has
1/(j(j+1)) of the error budget, so all looks together keep it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stoploss.commands import Evidence, round_significant
from stoploss.rules.group_totals import GROUPS_OF_EVERYBODY, GroupTotals
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import CONTROL, TREATMENT, IntArray, Moment, Rows, with_value
from stoploss.rules.verdict import NOTHING, Outcome, Reason, Response, Severity, Verdict
from stoploss.segments import EVERYBODY
from stoploss.spec.health import Alignment
from stoploss.stats.asymptotic import log_normal_cdf
from stoploss.stats.contrast import Contrast, Margin
from stoploss.stats.floors import Floor, continuous_floors, first_unmet

GROUPS = GROUPS_OF_EVERYBODY
TSTAR = 5_000
FIRST_LOOK = 500
LEAST_POINTS = 64
NO_MARGIN = Margin(worse="lower")


@dataclass(slots=True)
class Sums:
    """n, total: int64 (2, GROUPS): values and their sum by arm and group of units, over the whole run."""

    n: IntArray = field(default_factory=lambda: np.zeros((2, GROUPS), np.int64))
    total: IntArray = field(default_factory=lambda: np.zeros((2, GROUPS), np.int64))

    def fold(self, rows: Rows, column: str) -> None:
        x = rows.metrics.get(column)
        if x is None:
            return
        counted, x = with_value(rows.counted(EVERYBODY), x)
        key = counted.arm * GROUPS + (counted.unit % np.uint64(GROUPS)).astype(np.int64)
        self.n += np.bincount(key, minlength=2 * GROUPS).reshape(2, GROUPS)
        self.total += np.bincount(key, x, minlength=2 * GROUPS).astype(np.int64).reshape(2, GROUPS)


@dataclass(slots=True)
class Lean:
    """Where a contrast points: sign 1 where the treatment is clearly higher; what it lacks to speak, if it does."""

    sign: int = 0
    log_e: float = 0.0
    lacking: str = "epochs with both arms"
    observed: float = 0.0
    required: float = 1.0

    @property
    def floor(self) -> Floor | None:
        return Floor(self.lacking, self.observed, self.required) if self.lacking else None


@dataclass(slots=True)
class AlignmentState(Newsworthy):
    """proxy, outcome: sums for the correlation; the totals beside them for the contrasts.

    looks        looks taken at the correlation; points: groups with both, at the last one
    correlation  at the last look; None before the first
    fell         a look found it below its baseline
    leans        of proxy and outcome, as of the last tick
    """

    proxy: Sums = field(default_factory=Sums)
    outcome: Sums = field(default_factory=Sums)
    proxy_totals: GroupTotals = field(default_factory=lambda: GroupTotals.none(EVERYBODY))
    outcome_totals: GroupTotals = field(default_factory=lambda: GroupTotals.none(EVERYBODY))
    looks: int = 0
    points: int = 0
    correlation: float | None = None
    fell: bool = False
    leans: list[Lean] = field(default_factory=lambda: [Lean(), Lean()])


@dataclass(frozen=True, slots=True)
class AlignmentRule:
    proxy: str
    outcome: str
    baseline: float
    alpha: float
    response: Response
    kind: str = field(default="alignment", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "alignment"

    @classmethod
    def of(cls, alignment: Alignment) -> AlignmentRule:
        response = Response(None, Severity.HOLD, hold=alignment.do == "hold")
        return cls(alignment.proxy, alignment.outcome, alignment.baseline, alignment.alpha, response)

    def initial(self) -> AlignmentState:
        return AlignmentState()

    def fold(self, state: AlignmentState, rows: Rows, moment: Moment) -> None:
        everybody = moment.dimensions[EVERYBODY]
        state.proxy.fold(rows, self.proxy)
        state.outcome.fold(rows, self.outcome)
        state.proxy_totals.fold(rows, everybody, self.proxy)
        state.outcome_totals.fold(rows, everybody, self.outcome)

    def tick(self, state: AlignmentState, moment: Moment) -> None:
        state.leans = [_lean(totals, self.alpha / 8) for totals in (state.proxy_totals, state.outcome_totals)]
        results = int(state.outcome.n.sum())
        if results < FIRST_LOOK << state.looks:
            return
        state.looks = (results // FIRST_LOOK).bit_length()
        found = correlation(state.proxy, state.outcome)
        if found is None:
            return
        state.correlation, state.points = found
        if state.points >= LEAST_POINTS:
            budget = 0.5 * self.alpha / (state.looks * (state.looks + 1))
            state.fell = state.fell or _log_p_below(*found, self.baseline) <= math.log(budget)

    def close_epoch(self, state: AlignmentState, moment: Moment) -> None:
        state.proxy_totals.close_epoch(NO_MARGIN)
        state.outcome_totals.close_epoch(NO_MARGIN)

    def judge(self, state: AlignmentState, moment: Moment) -> Iterator[Verdict]:
        yield self._correlation(state)
        yield self._signs(state)

    def _correlation(self, state: AlignmentState) -> Verdict:
        evidence = partial(self._evidence, state, "correlation over groups of users", state.correlation, self.baseline)
        floor = Floor("groups of users with both", state.points, LEAST_POINTS)
        if state.fell:
            return Verdict("correlation", Outcome.BREACH, Reason.CORRELATION_FELL, evidence, self.response)
        if not floor.met:
            return Verdict("correlation", Outcome.UNDECIDED, Reason.BELOW_FLOOR, evidence, NOTHING, floor)
        return Verdict("correlation", Outcome.OK, Reason.STEADY, evidence)

    def _signs(self, state: AlignmentState) -> Verdict:
        """Each side of each contrast has an eighth of the budget: two of them speak only together."""
        proxy, outcome = state.leans
        found = min(proxy.log_e, outcome.log_e)
        evidence = partial(self._evidence, state, "log e of both contrasts", found, -math.log(self.alpha / 8))
        if floor := proxy.floor or outcome.floor:
            return Verdict("signs", Outcome.UNDECIDED, Reason.BELOW_FLOOR, evidence, NOTHING, floor)
        if proxy.sign * outcome.sign < 0:
            return Verdict("signs", Outcome.BREACH, Reason.OPPOSITE_SIGNS, evidence, self.response)
        return Verdict("signs", Outcome.OK, Reason.EVIDENCE_BETWEEN, evidence)

    def _evidence(self, state: AlignmentState, statistic: str, observed: float | None, bound: float) -> Evidence:
        n = state.outcome.n.sum(axis=1).tolist()
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=f"{self.proxy} and {self.outcome}",
            statistic=statistic,
            observed=round_significant(observed),
            bound=round_significant(bound),
            n_control=n[CONTROL],
            n_treatment=n[TREATMENT],
        )


def correlation(first: Sums, second: Sums) -> tuple[float, int] | None:
    """Correlation of two metrics over groups of units, within arms, and the groups that have both.

    None where either does not vary. Sums by group less what the arm's mean makes expect, so that busy groups do not
    correlate by being busy.
    """
    pairs: list[tuple[float, float]] = []
    for arm in (CONTROL, TREATMENT):
        both = np.flatnonzero((first.n[arm] > 0) & (second.n[arm] > 0))
        pairs += zip(_residuals(first, arm, both), _residuals(second, arm, both), strict=True)
    squares = math.fsum(a * a for a, _ in pairs) * math.fsum(b * b for _, b in pairs)
    if squares <= 0:
        return None
    r = math.fsum(a * b for a, b in pairs) / math.sqrt(squares)
    return max(-1.0, min(1.0, r)), len(pairs)


def _residuals(sums: Sums, arm: int, groups: IntArray) -> list[float]:
    n, total = sums.n[arm, groups], sums.total[arm, groups]
    mean = int(total.sum()) / max(1, int(n.sum()))
    residuals: list[float] = (total - mean * n).tolist()
    return residuals


def _log_p_below(r: float, points: int, baseline: float) -> float:
    """ln of the chance of so low a correlation if it were the baseline (Fisher's z; each arm's mean costs a degree)."""
    held = max(-0.999999, min(0.999999, r))
    return log_normal_cdf((math.atanh(held) - math.atanh(baseline)) * math.sqrt(points - 4))


def _lean(totals: GroupTotals, alpha: float) -> Lean:
    [found] = totals.contrasts(NO_MARGIN, [alpha], TSTAR)
    if not isinstance(found, Contrast):
        return Lean()
    control, treatment = totals.units.counts()[:, 0].tolist()
    floors = continuous_floors(n_eff=found.n_eff, units_control=control, units_treatment=treatment, alpha=alpha)
    unmet = first_unmet(floors)
    sign = int(found.log_e_safe >= found.limit) - int(found.log_e_harm >= found.limit)
    lacking = (unmet.what, unmet.observed, unmet.required) if unmet else ("", 0.0, 0.0)
    return Lean(sign, max(found.log_e_harm, found.log_e_safe), *lacking)
