"""What a guardrail sees of recorded requests: failures at the timeout, then its transform, as the judge reads them.

Cap and threshold are taken from the whole recording here; the judge freezes them from control's first 1,000 values.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stoploss.calibration.requests import IntArray, Requests
from stoploss.metrics import MISSING
from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.rules.reading import CAP, FAILURES, Reading, tail_threshold
from stoploss.stats.frozen_reference import freeze


def as_judged(requests: Requests, plan: GuardrailPlan) -> IntArray | None:
    """The column that the guardrail judges, MISSING where a request has no value; None where none has."""
    reading = plan.reading
    x = scored(requests, reading.column, reading.timeout)
    if x is None or not (x != MISSING).any():
        return None
    if reading.transform == "capped":
        cap = freeze(x[x != MISSING].tolist(), CAP)
        return np.where(x == MISSING, MISSING, np.minimum(x, cap))
    if reading.transform == "exceedance":
        return np.where(x == MISSING, MISSING, beyond(x, reading).astype(np.int64))
    return x


def scored(requests: Requests, column: str, timeout: int | None) -> IntArray | None:
    """A column with failures at no less than the timeout, in the column's integers; None: they are not scored."""
    x, failed = requests.metrics.get(column), requests.metrics.get(FAILURES)
    if x is None or failed is None or timeout is None:
        return x
    return np.where(failed == 1, np.maximum(x, timeout), x)


def beyond(x: IntArray, reading: Reading) -> npt.NDArray[np.bool_]:
    """Which values lie on the bad side of an exceedance guardrail's threshold; those that are missing do not."""
    known, limit = x != MISSING, threshold_of(x, reading)
    found: npt.NDArray[np.bool_] = known & (reading.sign * (np.where(known, x, limit) - limit) > 0)
    return found


def threshold_of(x: IntArray, reading: Reading) -> int:
    """The threshold of an exceedance guardrail: the spec's own, or the quantile of the values."""
    if reading.threshold is not None:
        return reading.threshold
    return reading.sign * tail_threshold((reading.sign * x[x != MISSING]).tolist(), reading.quantile)
