"""Budget: how fast the treatment arm burns money, tokens or the share of bad requests that an objective allows.

Event time in buckets; an action fires while a long and a short window both burn at its factor or more (Google, The Site
Reliability Workbook, chapter 5). A bad request counts only once ten units have had one: a retry loop is not an outage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from stoploss import metrics
from stoploss.commands import Action, Evidence, Micros, round_significant
from stoploss.experiment import Budget, BurnAction, Experiment
from stoploss.rules.rows import TREATMENT, IntArray, Moment, Rows, UnitArray
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict
from stoploss.stats import burn_rate

SECOND = 1_000_000
BUCKETS = 4_320
UNIT_CELLS = 1_024
LEAST_BAD_UNITS = 10


@dataclass(slots=True)
class BudgetState:
    """buckets: bucket number -> [rows, spent or bad]; bad_seen: latest bucket with a bad request, by cell of units."""

    buckets: dict[int, list[int]]
    bad_seen: list[int]
    watermark: Micros = 0
    fired: dict[int, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """One budget of the spec.

    limit      integers that may be spent in the period; None where an objective is watched
    threshold  integers above which a request is bad; None where money or tokens are watched
    """

    index: int
    metric: str
    scale: int
    limit: int | None
    threshold: int | None
    target: float | None
    period_s: int
    actions: tuple[BurnAction, ...]
    kind: str = field(default="budget", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return f"budget[{self.index}]"

    @classmethod
    def of(cls, experiment: Experiment, index: int, budget: Budget) -> BudgetRule:
        metric = experiment.metric(budget.watched)
        return cls(
            index,
            metric.name,
            metric.scale,
            None if budget.limit is None else round(budget.limit * metric.scale),
            None if budget.slo is None else round(budget.slo.threshold * metric.scale),
            None if budget.slo is None else budget.slo.target,
            budget.period,
            budget.actions,
        )

    @property
    def bucket_s(self) -> int:
        """Seconds in a bucket: fine enough for the shortest window, few enough for the longest."""
        longest = max(burn_rate.windows(action.burn, self.period_s).long_s for action in self.actions)
        return max(1, -(-int(longest) // BUCKETS))

    def initial(self) -> BudgetState:
        return BudgetState({}, [-1] * UNIT_CELLS)

    def fold(self, state: BudgetState, rows: Rows, moment: Moment) -> None:
        x = rows.metrics.get(metrics.column_name(self.metric, "none"))
        if x is None:
            return
        keep = (rows.arm == TREATMENT) & (x != metrics.MISSING)
        if not keep.any():
            return
        bucket = rows.at[keep] // (self.bucket_s * SECOND)
        amount = x[keep] if self.threshold is None else (x[keep] > self.threshold).astype(np.int64)
        numbers, place = np.unique(bucket, return_inverse=True)
        rows_in, spent = np.bincount(place), np.bincount(place, amount)
        for number, n, total in zip(numbers.tolist(), rows_in.tolist(), spent.tolist(), strict=True):
            held = state.buckets.setdefault(number, [0, 0])
            held[0], held[1] = held[0] + n, held[1] + int(total)
        if self.threshold is not None:
            self._see_bad(state, rows.unit[keep], bucket, amount)
        state.watermark = max(state.watermark, int(rows.at[keep].max()))

    def _see_bad(self, state: BudgetState, unit: UnitArray, bucket: IntArray, bad: IntArray) -> None:
        for cell, number in zip((unit[bad > 0] % UNIT_CELLS).tolist(), bucket[bad > 0].tolist(), strict=True):
            state.bad_seen[cell] = max(state.bad_seen[cell], number)

    def tick(self, state: BudgetState, moment: Moment) -> None:
        """Time moves the windows on, so that a quiet budget stops burning; what no window reaches is dropped."""
        state.watermark = max(state.watermark, moment.at)
        longest = max(burn_rate.windows(action.burn, self.period_s).long_s for action in self.actions)
        oldest = (state.watermark - int(longest * SECOND)) // (self.bucket_s * SECOND) - 1
        for number in [number for number in state.buckets if number < oldest]:
            del state.buckets[number]

    def close_epoch(self, state: BudgetState, moment: Moment) -> None:
        """Money is spent whatever the share."""

    def judge(self, state: BudgetState, moment: Moment) -> Iterator[Verdict]:
        for index, action in enumerate(self.actions):
            long_burn, n = self._burn(state, burn_rate.windows(action.burn, self.period_s).long_s)
            short_burn, _ = self._burn(state, burn_rate.windows(action.burn, self.period_s).short_s)
            burning = min(long_burn or 0.0, short_burn or 0.0)
            if burning >= action.burn and self._enough_bad(state, action):
                state.fired[index] = True
            yield self._verdict(index, action, burning, n, state.fired.get(index, False))

    def _burn(self, state: BudgetState, window_s: float) -> tuple[float | None, int]:
        """Burn of the window that ends at the watermark, and its rows."""
        width = self.bucket_s * SECOND
        last = state.watermark // width
        first = last - max(1, round(window_s / self.bucket_s)) + 1
        held = [counts for number, counts in state.buckets.items() if first <= number <= last]
        n, amount = sum(c[0] for c in held), sum(c[1] for c in held)
        if self.limit is not None:
            span = (last - first + 1) * self.bucket_s
            # Intake refuses negative costs; from elsewhere they must not give money back, nor end the judge.
            return burn_rate.burn_of_spend(max(0, amount), span, self.limit, self.period_s), n
        return burn_rate.burn_of_bad(amount, n, self.target or 0.0), n

    def _enough_bad(self, state: BudgetState, action: BurnAction) -> bool:
        if self.threshold is None:
            return True
        width = self.bucket_s * SECOND
        first = (state.watermark - int(burn_rate.windows(action.burn, self.period_s).long_s * SECOND)) // width
        return sum(number >= first for number in state.bad_seen) >= LEAST_BAD_UNITS

    def _verdict(self, index: int, action: BurnAction, burning: float, n: int, fired: bool) -> Verdict:
        evidence = Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=self.metric,
            statistic="burn rate",
            observed=round_significant(burning),
            bound=action.burn,
            n_treatment=n,
        )
        stream = f"burn {action.burn:g}"
        if not fired:
            return Verdict(stream, Outcome.OK, Reason.WITHIN_BUDGET, evidence)
        response = Response(Action(action.do), Severity.PAGE, share=action.to)
        return Verdict(stream, Outcome.BREACH, Reason.BURNING, evidence, response)
