"""Budget: how fast the treatment arm burns money, tokens or the share of bad requests that an objective allows.

Event time in buckets; an action fires while a long and a short window both burn at its factor or more (Google, The Site
Reliability Workbook, chapter 5). A bad request counts only once ten units have had one: a retry loop is not an outage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stoploss import metrics
from stoploss.arrays import indices
from stoploss.commands import Action, Evidence, Micros, round_significant
from stoploss.experiment import Experiment
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import TREATMENT, IntArray, Moment, Rows, UnitArray
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict
from stoploss.spec.budgets import Budget, BurnAction
from stoploss.stats import burn_rate

SECOND = 1_000_000
BUCKETS = 4_320
UNIT_CELLS = 1_024
LEAST_BAD_UNITS = 10


@dataclass(slots=True)
class BudgetState(Newsworthy):
    """What the longest window holds.

    ring      int64 (2, size): rows, and what they spent or how many were bad; bucket number n is in column n % size
    latest    number of the newest bucket; columns of older ones than `size` were cleared for newer ones
    bad_seen  latest bucket with a bad request, by cell of units
    """

    ring: IntArray
    bad_seen: list[int]
    latest: int = 0
    watermark: Micros = 0
    fired: dict[int, bool] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return int(self.ring.shape[1])

    def advance(self, number: int) -> None:
        """Makes room for buckets up to `number`."""
        fresh = min(number - self.latest, self.size)
        if fresh > 0:
            self.ring[:, np.arange(number - fresh + 1, number + 1) % self.size] = 0
            self.latest = number

    def add(self, number: int, rows: int, amount: int) -> None:
        """Adds to a bucket, unless no window reaches back to it any more."""
        if number > self.latest - self.size:
            self.ring[:, number % self.size] += (rows, amount)

    def window(self, buckets: int) -> tuple[int, int]:
        """Rows and amount of the last buckets."""
        end = self.latest % self.size + 1
        start = end - buckets
        held = self.ring[:, max(start, 0) : end].sum(axis=1)
        if start < 0:
            held = held + self.ring[:, start:].sum(axis=1)
        rows, amount = held.tolist()
        return rows, amount


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """One budget of the spec.

    limit      integers that may be spent in the period; None where an objective is watched
    threshold  integers above which a request is bad; None where money or tokens are watched
    bucket_s   seconds in a bucket: fine enough for the shortest window, few enough for the longest
    windows    of each action: buckets in its long window, and in its short one
    """

    index: int
    metric: str
    scale: int
    limit: int | None
    threshold: int | None
    target: float | None
    period_s: int
    actions: tuple[BurnAction, ...]
    bucket_s: int
    windows: tuple[tuple[int, int], ...]
    kind: str = field(default="budget", init=False)
    version: int = field(default=2, init=False)

    @property
    def key(self) -> str:
        return f"budget[{self.index}]"

    @classmethod
    def of(cls, experiment: Experiment, index: int, budget: Budget) -> BudgetRule:
        metric = experiment.metric(budget.watched)
        windows = [burn_rate.windows(action.burn, budget.period) for action in budget.actions]
        bucket_s = max(1, -(-int(max(window.long_s for window in windows)) // BUCKETS))
        return cls(
            index,
            metric.name,
            metric.scale,
            None if budget.limit is None else round(budget.limit * metric.scale),
            None if budget.slo is None else round(budget.slo.threshold * metric.scale),
            None if budget.slo is None else budget.slo.target,
            budget.period,
            budget.actions,
            bucket_s,
            tuple((_buckets(window.long_s, bucket_s), _buckets(window.short_s, bucket_s)) for window in windows),
        )

    def initial(self) -> BudgetState:
        size = max(long for long, _ in self.windows)
        return BudgetState(np.zeros((2, size), np.int64), [-1] * UNIT_CELLS)

    def fold(self, state: BudgetState, rows: Rows, moment: Moment) -> None:
        x = rows.metrics.get(metrics.column_name(self.metric, "none"))
        if x is None:
            return
        keep = indices((rows.arm == TREATMENT) & (x != metrics.MISSING))
        if not keep.size:
            return
        at = rows.at[keep]
        bucket = at // (self.bucket_s * SECOND)
        amount = x[keep] if self.threshold is None else (x[keep] > self.threshold).astype(np.int64)
        state.advance(int(bucket.max()))
        for number, amounts in by_number(bucket, amount):
            state.add(number, amounts.size, int(amounts.sum()))
        if self.threshold is not None:
            self._see_bad(state, rows.unit[keep], bucket, amount)
        state.watermark = max(state.watermark, int(at.max()))
        state.news = True

    def _see_bad(self, state: BudgetState, unit: UnitArray, bucket: IntArray, bad: IntArray) -> None:
        found = indices(bad)
        for cell, number in zip((unit[found] % UNIT_CELLS).tolist(), bucket[found].tolist(), strict=True):
            state.bad_seen[cell] = max(state.bad_seen[cell], number)

    def tick(self, state: BudgetState, moment: Moment) -> None:
        """Time moves the windows on, so that a quiet budget stops burning."""
        state.watermark = max(state.watermark, moment.at)
        state.advance(state.watermark // (self.bucket_s * SECOND))

    def close_epoch(self, state: BudgetState, moment: Moment) -> None:
        """Money is spent whatever the share."""

    def judge(self, state: BudgetState, moment: Moment) -> Iterator[Verdict]:
        for index, (action, windows) in enumerate(zip(self.actions, self.windows, strict=True)):
            before = state.fired.get(index, False)
            fired = before or self._fires(state, action, windows)
            if fired:
                state.fired[index] = True
            if fired != before or not moment.asked.only_news:
                yield self._verdict(state, action, windows, fired)

    def _fires(self, state: BudgetState, action: BurnAction, windows: tuple[int, int]) -> bool:
        """The short window is asked first: it is a fraction of the long one, and mostly enough to say no."""
        burns = (self._burn(state, buckets)[0] >= action.burn for buckets in reversed(windows))
        return all(burns) and self._enough_bad(state, action)

    def _burn(self, state: BudgetState, buckets: int) -> tuple[float, int]:
        """Burn of the window that ends with the newest bucket, and its rows."""
        n, amount = state.window(buckets)
        if self.limit is not None:
            span = buckets * self.bucket_s
            # Intake refuses negative costs; from elsewhere they must not give money back, nor end the judge.
            return burn_rate.burn_of_spend(max(0, amount), span, self.limit, self.period_s), n
        return burn_rate.burn_of_bad(amount, n, self.target or 0.0) or 0.0, n

    def _enough_bad(self, state: BudgetState, action: BurnAction) -> bool:
        if self.threshold is None:
            return True
        width = self.bucket_s * SECOND
        first = (state.watermark - int(burn_rate.windows(action.burn, self.period_s).long_s * SECOND)) // width
        return sum(number >= first for number in state.bad_seen) >= LEAST_BAD_UNITS

    def _verdict(self, state: BudgetState, action: BurnAction, windows: tuple[int, int], fired: bool) -> Verdict:
        evidence = partial(self._evidence, state, action, windows)
        stream = f"burn {action.burn:g}"
        if not fired:
            return Verdict(stream, Outcome.OK, Reason.WITHIN_BUDGET, evidence)
        response = Response(Action(action.do), Severity.PAGE, share=action.to)
        return Verdict(stream, Outcome.BREACH, Reason.BURNING, evidence, response)

    def _evidence(self, state: BudgetState, action: BurnAction, windows: tuple[int, int]) -> Evidence:
        (long_burn, n), (short_burn, _) = (self._burn(state, buckets) for buckets in windows)
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=self.metric,
            statistic="burn rate",
            observed=round_significant(min(long_burn, short_burn)),
            bound=action.burn,
            n_treatment=n,
        )


def _buckets(window_s: float, bucket_s: int) -> int:
    return max(1, round(window_s / bucket_s))


def by_number(number: IntArray, amount: IntArray) -> Iterator[tuple[int, IntArray]]:
    """The amounts of each number; nearly always there is but one."""
    lowest, highest = int(number.min()), int(number.max())
    if lowest == highest:
        yield lowest, amount
        return
    for one in np.unique(number).tolist():
        yield one, amount[number == one]
