"""Mixtures of e-processes, kept as logarithms so that overwhelming evidence does not overflow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stoploss.stats.errors import StatisticsInputError


def log_mean_exp(logs: Sequence[float]) -> float:
    """ln of the plain mean of exp(logs): the evidence of an equal-weight mixture.

    logs  ln of the evidence of each member, at least one, finite; their order does not matter

    >>> round(log_mean_exp([0.0, 1000.0]), 6)
    999.306853
    """
    if not logs or not all(math.isfinite(value) for value in logs):
        raise StatisticsInputError(f"logs are {list(logs)!r}; a mixture needs at least one member, all finite")
    highest = max(logs)
    return highest + math.log(math.fsum([math.exp(value - highest) for value in logs]) / len(logs))


def geometric_grid(low: float, high: float, points: int) -> tuple[float, ...]:
    """points numbers from low to high with a constant ratio, both > 0; scalar powers, equal on every CPU.

    >>> [round(value, 6) for value in geometric_grid(0.01, 1.0, 3)]
    [0.01, 0.1, 1.0]
    """
    ratio = high / low
    return tuple(low * math.pow(ratio, step / (points - 1)) for step in range(points))
