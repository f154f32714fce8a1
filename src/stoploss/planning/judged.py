"""What a guardrail sees of recorded requests: failures at the timeout, then its transform, as the judge reads them.

Cap and threshold are taken from the whole recording here; the judge freezes them from control's first 1,000 values.
"""

from __future__ import annotations

import numpy as np

from stoploss.calibration.requests import IntArray, Requests
from stoploss.metrics import MISSING
from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.rules.reading import CAP, FAILURES, Reading
from stoploss.stats.frozen_reference import freeze


def as_judged(requests: Requests, plan: GuardrailPlan) -> IntArray | None:
    """The column that the guardrail judges, MISSING where a request has no value; None where none has."""
    reading = plan.reading
    x = _scored(requests, reading)
    if x is None or not (x != MISSING).any():
        return None
    if reading.transform == "capped":
        cap = freeze(x[x != MISSING].tolist(), CAP).threshold
        return np.where(x == MISSING, MISSING, np.minimum(x, cap))
    if reading.transform == "exceedance":
        return np.where(x == MISSING, MISSING, _beyond(x, reading).astype(np.int64))
    return x


def _scored(requests: Requests, reading: Reading) -> IntArray | None:
    x, failed = requests.metrics.get(reading.column), requests.metrics.get(FAILURES)
    if x is None or failed is None or reading.timeout is None:
        return x
    scored: IntArray = np.where(failed == 1, np.maximum(x, reading.timeout), x)
    return scored


def _beyond(x: IntArray, reading: Reading) -> np.typing.NDArray[np.bool_]:
    sign = 1 if reading.worse == "higher" else -1
    known = sign * x[x != MISSING]
    limit = (
        freeze(known.tolist(), reading.quantile).threshold if reading.threshold is None else sign * reading.threshold
    )
    beyond: np.typing.NDArray[np.bool_] = sign * x > limit
    return beyond
