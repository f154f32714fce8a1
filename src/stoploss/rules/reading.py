"""How a guardrail reads its metric: failures scored at the service timeout, then what its transform makes of a value.

    capped      min(value, cap): the verdict speaks of the mean of that, for one huge value is not a hundred slow ones
    exceedance  1 where the value lies beyond a threshold, else 0: the tail itself, judged as a rate
    covariate   value - theta (x - centre): the part that was known before the assignment is taken out (stats/cuped.py)

Cap, threshold and theta are control's own. They are frozen from its first REFERENCE values, an exact set whatever the
cuts of blocks, and the test begins with the ledger second after: the rows that froze them are in no test. Latency among
successes would reward failing fast, so a failure counts as at least the service timeout, here and in no plot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from stoploss import metrics
from stoploss.arrays import indices
from stoploss.experiment import Experiment
from stoploss.metrics import LARGEST, MISSING
from stoploss.rules.rows import CONTROL, IntArray, Moment, Rows
from stoploss.segments import EVERYBODY
from stoploss.spec.guardrails import Guardrail, GuardrailTransform
from stoploss.stats.cuped import Adjustment, PairSums, adjusted, fit
from stoploss.stats.floors import Floor
from stoploss.stats.frozen_reference import freeze

SECOND = 1_000_000
REFERENCE = 1_000
CAP = 0.99
USUAL_TAIL = 0.95
FAILURES = "error_rate"
FAILURES_COUNT_AS_SLOW = frozenset({"latency_ms", "time_to_first_token_ms"})
NO_VALUES = np.zeros(0, np.int64)


@dataclass(slots=True)
class Reference:
    """Control's first values and, once there are REFERENCE of them, what was frozen from them.

    values      in ledger order, in the column's integers; covariates: of the same rows, MISSING where there is none
    frozen_in   ledger second in which they were complete; None: they are not yet
    limit       the cap or threshold
    adjustment  what the covariate takes out; None: no covariate
    """

    values: IntArray = field(default_factory=NO_VALUES.copy)
    covariates: IntArray = field(default_factory=NO_VALUES.copy)
    frozen_in: int | None = None
    limit: int | None = None
    adjustment: Adjustment | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a guardrail makes of a column.

    unit, scale  of the metric that people see, and integers per unit of the column
    worse        which way harm lies
    quantile     share of control's values on the good side of the threshold
    threshold    the spec's own, in the column's integers; None: it is frozen
    timeout      what a failed request counts as at least, in the column's integers; None: failures are not scored
    """

    column: str
    unit: str
    scale: int
    transform: GuardrailTransform
    worse: str
    quantile: float = USUAL_TAIL
    threshold: int | None = None
    timeout: int | None = None
    covariate: str | None = None

    @classmethod
    def of(cls, experiment: Experiment, guardrail: Guardrail) -> Reading:
        metric = experiment.metric(guardrail.metric)
        return cls(
            column=metrics.column_name(metric.name, guardrail.projected),
            unit=metric.unit,
            scale=metrics.scale_of(metric, guardrail.projected),
            transform=guardrail.transform,
            worse="higher" if guardrail.direction == "lower" else "lower",
            quantile=USUAL_TAIL if guardrail.quantile is None else guardrail.quantile,
            threshold=None if guardrail.threshold is None else round(guardrail.threshold * metric.scale),
            timeout=_timeout(experiment, guardrail),
            covariate=guardrail.covariate,
        )

    def worst_quarter(self) -> Reading:
        """The same column as a rate: among the values that are worse than three quarters of control's, or not."""
        return replace(self, transform="exceedance", quantile=0.75, threshold=None, covariate=None)

    @property
    def frozen(self) -> bool:
        """Whether anything is frozen before the test begins."""
        own_threshold = self.transform == "exceedance" and self.threshold is None
        return own_threshold or self.transform == "capped" or self.covariate is not None

    @property
    def sign(self) -> int:
        return 1 if self.worse == "higher" else -1

    def begin(self) -> Reference:
        return Reference(limit=self.threshold)

    def read(self, reference: Reference, rows: Rows, moment: Moment) -> Rows | None:
        """The rows with this reading in the place of the column; None: nothing of them is tested.

        Collects the reference from the rows of everybody, which are folded in the order of the ledger.
        """
        x = self._scored(rows)
        if x is None:
            return None
        if not self.frozen:
            return self._with(rows, self._transformed(reference, rows, x))
        second = moment.at // SECOND
        if reference.frozen_in is None and EVERYBODY in moment.due:
            self._collect(reference, rows, x, second)
        if reference.frozen_in is None or second <= reference.frozen_in:
            return None
        return self._with(rows, self._transformed(reference, rows, x))

    def _with(self, rows: Rows, y: IntArray) -> Rows:
        return rows if y is rows.metrics.get(self.column) else rows.with_metric(self.column, y)

    def _scored(self, rows: Rows) -> IntArray | None:
        """The column, with failures at no less than the timeout; a failure that was not timed counts as that."""
        if self.timeout is None or FAILURES not in rows.metrics:
            return rows.metrics.get(self.column)
        return rows.once(("scored", self.column, self.timeout), lambda: self._failures_at_timeout(rows))

    def _failures_at_timeout(self, rows: Rows) -> IntArray | None:
        x, failed = rows.metrics.get(self.column), rows.metrics[FAILURES]
        if not (failed == 1).any():
            return x
        if x is None:
            x = np.full(rows.size, MISSING, np.int64)
        assert self.timeout is not None
        scored: IntArray = np.where(failed == 1, np.maximum(x, self.timeout), x)
        return scored

    def _collect(self, reference: Reference, rows: Rows, x: IntArray, second: int) -> None:
        keep = indices(rows.compared & rows.capped & (rows.arm == CONTROL) & (x != MISSING))
        keep = keep[: REFERENCE - reference.values.size]
        reference.values = np.concatenate([reference.values, x[keep]])
        if self.covariate is not None:
            reference.covariates = np.concatenate([reference.covariates, self._covariate(rows)[keep]])
        if reference.values.size == REFERENCE:
            reference.frozen_in = second
            self._freeze(reference)

    def _freeze(self, reference: Reference) -> None:
        if self.transform == "capped":
            reference.limit = freeze(reference.values.tolist(), CAP)
        if self.transform == "exceedance":
            reference.limit = self.sign * tail_threshold((self.sign * reference.values).tolist(), self.quantile)
        if self.covariate is not None:
            y = self._capped(reference, reference.values)
            reference.adjustment = _fitted(reference.covariates, y)

    def _transformed(self, reference: Reference, rows: Rows, x: IntArray) -> IntArray:
        if self.transform == "exceedance":
            assert reference.limit is not None
            beyond = (x > reference.limit) if self.worse == "higher" else (x < reference.limit)
            return np.where(x == MISSING, MISSING, beyond.astype(np.int64))
        return self._adjusted(reference, rows, self._capped(reference, x))

    def _capped(self, reference: Reference, x: IntArray) -> IntArray:
        return x if reference.limit is None else np.minimum(x, reference.limit)

    def _adjusted(self, reference: Reference, rows: Rows, y: IntArray) -> IntArray:
        """Rows without the covariate stay as they are: they count as having its mean."""
        if reference.adjustment is None:
            return y
        x = self._covariate(rows)
        there = (x != MISSING) & (y != MISSING)
        y = y.copy()
        y[there] = np.clip(adjusted(y[there], x[there], reference.adjustment), -LARGEST, LARGEST)
        return y

    def _covariate(self, rows: Rows) -> IntArray:
        x = rows.metrics.get(self.covariate or "")
        return np.full(rows.size, MISSING, np.int64) if x is None else x

    def floor(self, reference: Reference) -> Floor | None:
        """What is missing until the test begins."""
        if not self.frozen or reference.frozen_in is not None:
            return None
        return Floor("values of control that its reference is frozen from", reference.values.size, REFERENCE)

    def words(self, reference: Reference) -> str:
        """What the verdict's numbers are of, where they are not simply of the metric."""
        said = [self._limit_words(reference)] if reference.limit is not None else []
        if reference.adjustment is not None:
            said.append(f"adjusted by {self.covariate}, which leaves {100 * reference.adjustment.gain:.0f} % variance")
        return ", ".join(said)

    def _limit_words(self, reference: Reference) -> str:
        limit = f"{self._in_unit(reference.limit or 0):,.6g} {self.unit}"
        if self.transform == "capped":
            return f"mean of values capped at {limit}, control's frozen 99th percentile"
        side = "above" if self.worse == "higher" else "below"
        if self.threshold is not None:
            return f"share {side} {limit}"
        quantile = self.quantile if self.worse == "higher" else 1 - self.quantile
        return f"share {side} {limit}, control's frozen {100 * quantile:.4g} % quantile"

    def _in_unit(self, value: int) -> float:
        return math.exp(value / self.scale) if ":log" in self.column else value / self.scale


def tail_threshold(values: list[int], quantile: float) -> int:
    """The quantile of the values; the next lower value where none lies above it, so that the tail can have events.

    Half of all requests at the timeout make it the 95th percentile: nothing would ever lie above.

    >>> tail_threshold([1] * 30 + [2] * 10 + [60] * 60, 0.95), tail_threshold(list(range(100)), 0.95)
    (2, 94)
    """
    threshold, highest = freeze(values, quantile), max(values)
    lower = [value for value in values if value < highest]
    return max(lower) if threshold == highest and lower else threshold


def _fitted(x: IntArray, y: IntArray) -> Adjustment:
    """The covariate's slope from the rows that have it; none at all where fewer than two do."""
    sums = PairSums()
    there = x != MISSING
    for one, other in zip(x[there].tolist(), y[there].tolist(), strict=True):
        sums = sums.plus(one, other)
    return fit(sums) if sums.n >= 2 else Adjustment(0.0, 0.0, 1.0)


def _timeout(experiment: Experiment, guardrail: Guardrail) -> int | None:
    """The service timeout in the integers of the guardrail's column; None: its metric is not how long one waits."""
    if guardrail.metric not in FAILURES_COUNT_AS_SLOW:
        return None
    milliseconds = 1_000 * experiment.spec.assignment.service_timeout
    value = math.log(milliseconds) if guardrail.projected == "log" else milliseconds
    return round(value * metrics.scale_of(experiment.metric(guardrail.metric), guardrail.projected))
