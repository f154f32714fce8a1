"""Forecast: will a budget of money or tokens be gone before its period ends?

What the treatment spent of the period, and the rate of a sliding window (6 hours of a 30-day period, in proportion of a
shorter one), give the inverse-Gaussian time at which the rest is gone (stats/exhaustion.py). The forecast knows no time
of day, so it warns and orders nothing: the burn rates act (budget.py). Periods are counted from 1970 in UTC; a budget
of 24 hours is one of a UTC day.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stoploss import metrics
from stoploss.arrays import indices
from stoploss.commands import Evidence, Micros, round_significant
from stoploss.experiment import Experiment
from stoploss.rules.budget import by_number
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import TREATMENT, IntArray, Moment, Rows
from stoploss.rules.verdict import NOTHING, Outcome, Reason, Response, Severity, Verdict
from stoploss.spec.budgets import Budget
from stoploss.stats.exhaustion import Exhaustion
from stoploss.stats.floors import Floor

SECOND = 1_000_000
HOUR = 3_600 * SECOND
WINDOWS_IN_PERIOD = 120
BUCKETS = 60
LIKELY = 0.9
WARN = Response(None, Severity.HOLD)


@dataclass(slots=True)
class ForecastState(Newsworthy):
    """buckets: bucket number -> [spent, sum of squares]; spent: by number of the period; since: first event seen.

    chance  that the rest is gone before the period ends, as of the last tick; None: the window is not full yet
    hours   until it is gone with a probability of 0.1, 0.5 and 0.9; empty while that is unlikely
    """

    buckets: dict[int, list[int]] = field(default_factory=dict)
    spent: dict[int, int] = field(default_factory=dict)
    since: Micros | None = None
    watermark: Micros = 0
    chance: float | None = None
    hours: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Forecast:
    """One budget of the spec that is spent; limit in integers of the metric."""

    index: int
    metric: str
    limit: int
    period_s: int
    kind: str = field(default="forecast", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return f"forecast[{self.index}]"

    @classmethod
    def of(cls, experiment: Experiment, index: int, budget: Budget) -> Forecast:
        metric = experiment.metric(budget.watched)
        return cls(index, metric.name, round((budget.limit or 0.0) * metric.scale), budget.period)

    @property
    def bucket_s(self) -> int:
        return max(1, self.period_s // (WINDOWS_IN_PERIOD * BUCKETS))

    @property
    def window_s(self) -> int:
        return self.bucket_s * BUCKETS

    def initial(self) -> ForecastState:
        return ForecastState()

    def fold(self, state: ForecastState, rows: Rows, moment: Moment) -> None:
        x = rows.metrics.get(self.metric)
        if x is None:
            return
        keep = indices((rows.arm == TREATMENT) & (x != metrics.MISSING))
        if not keep.size:
            return
        at, cost = rows.at[keep], np.maximum(x[keep], 0)
        for number, costs in by_number(at // (self.bucket_s * SECOND), cost):
            held = state.buckets.setdefault(number, [0, 0])
            held[0], held[1] = held[0] + int(costs.sum()), held[1] + sum_of_squares(costs)
        for period, costs in by_number(at // (self.period_s * SECOND), cost):
            state.spent[period] = state.spent.get(period, 0) + int(costs.sum())
        earliest = int(at.min())
        state.since = earliest if state.since is None else min(state.since, earliest)
        state.watermark = max(state.watermark, int(at.max()))

    def tick(self, state: ForecastState, moment: Moment) -> None:
        state.watermark = max(state.watermark, moment.at)
        period = state.watermark // (self.period_s * SECOND)
        oldest = state.watermark // (self.bucket_s * SECOND) - BUCKETS
        state.buckets = {number: held for number, held in state.buckets.items() if number > oldest}
        state.spent = {number: total for number, total in state.spent.items() if number >= period - 1}
        self._look_ahead(state, period)

    def _look_ahead(self, state: ForecastState, period: int) -> None:
        if state.since is None or state.watermark - state.since < self.window_s * SECOND:
            return
        remaining = self.limit - state.spent.get(period, 0)
        spent = sum(held[0] for held in state.buckets.values())
        if remaining <= 0 or not spent:
            state.chance, state.hours = (0.0, []) if remaining > 0 else (1.0, [0.0, 0.0, 0.0])
            return
        squares = sum(held[1] for held in state.buckets.values())
        ahead = Exhaustion.of_window(float(remaining), float(spent), float(squares), self.window_s / 3_600)
        left_h = ((period + 1) * self.period_s * SECOND - state.watermark) / HOUR
        state.chance = math.exp(ahead.log_cdf(left_h)) if left_h > 0 else 0.0
        likely = state.chance >= LIKELY
        state.hours = [ahead.quantile_h(q) for q in (0.1, 0.5, 0.9)] if likely else []

    def close_epoch(self, state: ForecastState, moment: Moment) -> None:
        """Money is spent whatever the share."""

    def judge(self, state: ForecastState, moment: Moment) -> Iterator[Verdict]:
        evidence = partial(self._evidence, state)
        if state.chance is None:
            observed = 0 if state.since is None else (state.watermark - state.since) // SECOND
            floor = Floor("seconds of spending", observed, self.window_s)
            yield Verdict("budget", Outcome.UNDECIDED, Reason.BELOW_FLOOR, evidence, NOTHING, floor)
        elif state.chance >= LIKELY:
            yield Verdict("budget", Outcome.BREACH, Reason.RUNS_OUT, evidence, WARN)
        else:
            yield Verdict("budget", Outcome.OK, Reason.WITHIN_BUDGET, evidence)

    def _evidence(self, state: ForecastState) -> Evidence:
        lower, middle, upper = state.hours or (None, None, None)
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=self.metric,
            statistic="chance that the budget runs out before its period ends",
            observed=round_significant(state.chance),
            bound=LIKELY,
            estimate=round_significant(middle),
            lower=round_significant(lower),
            upper=round_significant(upper),
        )


def sum_of_squares(x: IntArray) -> int:
    """Exact, of at most 8,192 integers from 0 to 2**40 - 1: halves of 20 bits, whose products add up below 2**53.

    >>> sum_of_squares(np.array([3, 2**39 + 1])) == 9 + (2**39 + 1) ** 2
    True
    """
    high, low = x >> 20, x & ((1 << 20) - 1)
    return (int(high @ high) << 40) + (int(high @ low) << 21) + int(low @ low)
