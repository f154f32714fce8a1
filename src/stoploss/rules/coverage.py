"""Coverage: do scores arrive for enough units of each arm, and in time?

A sample of units, taken by hash whatever their outcome, is followed from the first trace on. A unit counts once its
score has had the time to arrive: as scored if one came, else as missed. Scores that only one kind of request gets, or
that stop coming for one arm, would let the rest decide. Nothing is settled while intake is behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stoploss.arrays import indices
from stoploss.commands import Action, Evidence, Micros, round_significant
from stoploss.metrics import MISSING
from stoploss.rules.followed import FollowedUnits
from stoploss.rules.news import Newsworthy
from stoploss.rules.rate_batch import RateBatch
from stoploss.rules.rows import CONTROL, TREATMENT, Mask, Moment, Rows
from stoploss.rules.verdict import NOTHING, Outcome, Reason, Response, Severity, Verdict
from stoploss.spec.health import Coverage
from stoploss.stats.floors import Floor

SECOND = 1_000_000
FOLLOWED = 4_096
KEPT_LAGS = 256
LEAST_LAGS = 32
ARMS = ((CONTROL, "control"), (TREATMENT, "treatment"))


@dataclass(slots=True)
class CoverageState(Newsworthy):
    """units: followed ones, those below 2**64 >> halvings; missed, lags: by arm."""

    units: FollowedUnits = field(default_factory=FollowedUnits)
    halvings: int = 0
    missed: list[RateBatch] = field(default_factory=lambda: [RateBatch(), RateBatch()])
    lags: list[list[Micros]] = field(default_factory=lambda: [[], []])

    @property
    def below(self) -> int:
        return 1 << (64 - self.halvings)

    def meet(self, unit: int, arm: int, at: Micros) -> None:
        if unit not in self.units:
            self.units.meet(unit, arm, at)
            while len(self.units) > FOLLOWED:
                self.halvings += 1
                self.units = self.units.below(self.below)

    def score(self, unit: int, at: Micros) -> None:
        if unit in self.units and unit not in self.units.scored:
            self.units.scored.add(unit)
            lags = self.lags[self.units.arm(unit)]
            lags.append(at - self.units.since[unit])
            del lags[:-KEPT_LAGS]


@dataclass(frozen=True, slots=True)
class CoverageRule:
    score: str
    least: float
    within_s: int
    max_lag_s: int | None
    response: Response
    kind: str = field(default="coverage", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "coverage"

    @classmethod
    def of(cls, coverage: Coverage) -> CoverageRule:
        response = Response(Action.PAUSE if coverage.do == "pause" else None, Severity.HOLD, hold=True)
        return cls(coverage.score, coverage.min, coverage.within, coverage.max_lag, response)

    def initial(self) -> CoverageState:
        return CoverageState()

    def fold(self, state: CoverageState, rows: Rows, moment: Moment) -> None:
        """Row by row, in order: a score before the first trace that counts is none, however rows are cut."""
        x = rows.metrics.get(self.score)
        scored = np.zeros(rows.size, np.bool_) if x is None else x != MISSING
        met = rows.first & rows.compared & rows.exposure
        for row in _sampled(rows, scored | met, state.halvings):
            unit = int(rows.unit[row])
            if met[row] and unit < state.below:
                state.meet(unit, int(rows.arm[row]), moment.at)
            if scored[row]:
                state.score(unit, moment.at)
                state.news = True

    def tick(self, state: CoverageState, moment: Moment) -> None:
        for batch in state.missed:
            batch.renew()
        if not moment.caught_up:
            return
        latest = moment.at - self.within_s * SECOND
        for unit in state.units.up_to(latest):
            arm, scored = state.units.leave(unit)
            state.missed[arm].add(int(not scored), 1)
        if state.halvings and len(state.units) < FOLLOWED // 4:
            state.halvings -= 1

    def close_epoch(self, state: CoverageState, moment: Moment) -> None:
        """A score that is due is due, whatever the share."""

    def judge(self, state: CoverageState, moment: Moment) -> Iterator[Verdict]:
        for arm, name in ARMS:
            yield self._coverage(state.missed[arm], arm, f"units of the {name} arm with a score")
            if self.max_lag_s is not None:
                yield self._lag(state.lags[arm], self.max_lag_s, name)

    def _coverage(self, missed: RateBatch, arm: int, statistic: str) -> Verdict:
        share = None if missed.rate is None else 1 - missed.rate
        trials = (missed.trials, 0) if arm == CONTROL else (0, missed.trials)
        evidence = partial(self._evidence, statistic, share, self.least, trials)
        if missed.trials and missed.exceeds(1 - self.least):
            return Verdict(statistic, Outcome.BREACH, Reason.SCORES_MISSING, evidence, self.response)
        return Verdict(statistic, Outcome.OK, Reason.STEADY, evidence)

    def _lag(self, lags: list[Micros], max_lag_s: int, name: str) -> Verdict:
        statistic = f"seconds until half of the {name} arm's scored units have a score"
        floor = Floor(f"scored units of the {name} arm", len(lags), LEAST_LAGS)
        observed = sorted(lags)[len(lags) // 2] / SECOND if lags else None
        evidence = partial(self._evidence, statistic, observed, float(max_lag_s), (0, 0))
        if not floor.met:
            return Verdict(statistic, Outcome.UNDECIDED, Reason.BELOW_FLOOR, evidence, NOTHING, floor)
        if observed is not None and observed > max_lag_s:
            return Verdict(statistic, Outcome.BREACH, Reason.SCORES_LATE, evidence, self.response)
        return Verdict(statistic, Outcome.OK, Reason.STEADY, evidence)

    def _evidence(self, statistic: str, observed: float | None, bound: float, n: tuple[int, int]) -> Evidence:
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=self.score,
            statistic=statistic,
            observed=round_significant(observed),
            bound=bound,
            n_control=n[CONTROL],
            n_treatment=n[TREATMENT],
        )


def _sampled(rows: Rows, wanted: Mask, halvings: int) -> list[int]:
    """Rows to look at one by one: those of units that are followed, or would be."""
    if halvings:
        wanted = wanted & (rows.unit >> np.uint64(64 - halvings) == 0)
    found: list[int] = indices(wanted).tolist()
    return found
