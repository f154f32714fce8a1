"""Judge drift: does the judge grade a frozen set of items as it did at first?

A score carries, for each item graded anew, the new grade minus the first one. Its mean is held against 0 from both
sides by an asymptotic confidence sequence over groups of units (stats/asymptotic.py), for grades of one item are alike.
Every 2,000 grades it begins anew, so that a judge that moves after months is noticed as soon as one that moves at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stoploss.commands import Action, Evidence, round_significant
from stoploss.metrics import MISSING, SCORE_SCALE
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import IntArray, Moment, Rows
from stoploss.rules.verdict import NOTHING, Outcome, Reason, Response, Severity, Verdict
from stoploss.spec.health import JudgeReference
from stoploss.stats.asymptotic import log_e_two_sided, tuning_rho
from stoploss.stats.corrections import correct_few_groups, correct_skew
from stoploss.stats.floors import Floor, first_unmet

GROUPS = 64
BATCH = 2_000
TSTAR = 500
LEAST_GRADES = 100
LEAST_GROUPS = 24.0


@dataclass(slots=True)
class JudgeDriftState(Newsworthy):
    """n, total: int64 (GROUPS,): grades given anew, and the sum of their differences, by group of units.

    found, n_eff  log evidence of a mean other than 0, and the effective number of groups, as of the last tick
    """

    n: IntArray = field(default_factory=lambda: np.zeros(GROUPS, np.int64))
    total: IntArray = field(default_factory=lambda: np.zeros(GROUPS, np.int64))
    found: float = 0.0
    n_eff: float = 0.0


@dataclass(frozen=True, slots=True)
class JudgeDrift:
    score: str
    alpha: float
    response: Response
    kind: str = field(default="judge_drift", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "judge_drift"

    @classmethod
    def of(cls, reference: JudgeReference) -> JudgeDrift:
        action = Action.PAUSE if reference.do == "pause" else None
        return cls(reference.score, reference.alpha, Response(action, Severity.HOLD, hold=True))

    def initial(self) -> JudgeDriftState:
        return JudgeDriftState()

    def fold(self, state: JudgeDriftState, rows: Rows, moment: Moment) -> None:
        x = rows.metrics.get(self.score)
        if x is None:
            return
        graded = x != MISSING
        group = (rows.unit[graded] % np.uint64(GROUPS)).astype(np.int64)
        state.n += np.bincount(group, minlength=GROUPS)
        state.total += np.bincount(group, x[graded], minlength=GROUPS).astype(np.int64)
        state.news = True

    def tick(self, state: JudgeDriftState, moment: Moment) -> None:
        if int(state.n.sum()) >= BATCH:
            state.n, state.total = np.zeros(GROUPS, np.int64), np.zeros(GROUPS, np.int64)
        state.found, state.n_eff = mean_evidence(state.n, state.total, self.alpha)

    def close_epoch(self, state: JudgeDriftState, moment: Moment) -> None:
        """The judge grades whatever the share."""

    def judge(self, state: JudgeDriftState, moment: Moment) -> Iterator[Verdict]:
        evidence = partial(self._evidence, state)
        grades = Floor("grades given anew", int(state.n.sum()), LEAST_GRADES)
        unmet = first_unmet((grades, Floor("groups of items", state.n_eff, LEAST_GROUPS)))
        if unmet is not None:
            yield Verdict("reference", Outcome.UNDECIDED, Reason.BELOW_FLOOR, evidence, NOTHING, unmet)
        elif state.found >= -math.log(self.alpha):
            yield Verdict("reference", Outcome.BREACH, Reason.JUDGE_MOVED, evidence, self.response)
        else:
            yield Verdict("reference", Outcome.OK, Reason.STEADY, evidence)

    def _evidence(self, state: JudgeDriftState) -> Evidence:
        n = int(state.n.sum())
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=self.score,
            statistic="log e of a judge that grades otherwise",
            observed=round_significant(state.found),
            bound=round_significant(-math.log(self.alpha)),
            estimate=round_significant(int(state.total.sum()) / n / SCORE_SCALE) if n else None,
            n_control=n,
        )


def mean_evidence(n: IntArray, total: IntArray, alpha: float) -> tuple[float, float]:
    """ln of the evidence against "the mean is 0", and the effective number of groups; (0, 0) of fewer than two groups.

    n, total  int64 (groups,): values and their sum, integers
    alpha     error budget that the mixture is tuned for, in (0, 1)

    Jackknife influence over groups, corrected for skew and for few groups, as in stats/contrast.py for two arms.

    >>> log_e, groups = mean_evidence(np.full(64, 10), np.arange(64) - 20, 0.01)
    >>> round(log_e, 3), groups
    (8.208, 64.0)
    """
    size, groups = int(n.sum()), int(np.count_nonzero(n))
    if groups < 2:
        return 0.0, 0.0
    mean = int(total.sum()) / size
    shrink = math.sqrt((groups - 1) / groups)
    influence = [shrink * (x - mean * k) / (size - k) for k, x in zip(n.tolist(), total.tolist(), strict=True) if k]
    # Where every grade is off by the same, the differences do not vary; their rounding to integers still does.
    square = max(math.fsum(v * v for v in influence), 1 / (12 * size))
    kappa = math.fsum(v**3 for v in influence) / square**1.5
    n_eff = size * size / math.fsum(float(k * k) for k in n.tolist())
    z = correct_few_groups(correct_skew(mean / math.sqrt(square), kappa), n_eff)
    rho = tuning_rho(alpha, TSTAR, sided="two")
    return log_e_two_sided(z, size * rho * rho), n_eff
