"""Numbers to exact integers in a declared unit: every sum downstream is then the same in any order.

This is the only place where a metric is rounded, and where its logarithm is taken: once, when a row is made. What
stands in the ledger is an integer, so a judge on another processor, whose log differs in its last bit, still agrees.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stoploss.metrics import LOG_SCALE, MISSING, Metric, Transform

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

_UNIT_NAMES = {("ms", 1_000): "us", ("USD", 1_000_000_000): "nano-usd"}


def unit_of(metric: Metric, transform: Transform) -> str:
    """Unit of a column's integers, for people who read a block.

    >>> from stoploss.metrics import METRICS
    >>> [unit_of(METRICS["latency_ms"], transform) for transform in ("none", "log")]
    ['us', '1e-6 ln(ms)']
    """
    if transform == "log":
        return f"1e-6 ln({metric.unit})"
    if metric.binary:
        return "0 or 1"
    if metric.scale == 1:
        return metric.unit
    return _UNIT_NAMES.get((metric.unit, metric.scale), f"{1 / metric.scale:.0e} {metric.unit}".replace("e-0", "e-"))


def quantise(values: Floats, present: Mask, metric: Metric, transform: Transform) -> Integers:
    """round(value * scale), half to even; MISSING where there is no value, or no logarithm of it.

    values  in the metric's unit, finite and within ±LARGEST/scale where present (validate.py has seen to it)
    """
    if transform == "log":
        present = present & (values > 0)
    if transform == "none" and present.all():
        return np.rint(values * metric.scale).astype(np.int64)
    held = np.where(present, values, 1.0)
    scaled = np.log(held) * LOG_SCALE if transform == "log" else held * metric.scale
    return np.where(present, np.rint(scaled), 0.0).astype(np.int64) + np.where(present, 0, MISSING)
