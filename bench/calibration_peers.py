"""What is commonly done instead, for bench/calibration.py: a threshold polled, and a fixed-size test peeked at."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from bench.calibration_traffic import MINUTES, START, Stream, stage_of

FAILURE_LIMIT = 3
LEAST = 100
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Minutes:
    """Sums of one metric by arm and minute, float64 of shape (2, MINUTES)."""

    n: Floats
    total: Floats
    square: Floats

    @classmethod
    def of(cls, stream: Stream, metric: str, stages: tuple[float, ...]) -> Minutes:
        minute = (stream.requests.at - START) // 60_000_000
        arm = (stream.seat < stage_of(minute, stages)).astype(np.int64)
        x = stream.requests.metrics[metric].astype(np.float64)
        key = arm * MINUTES + minute
        sums = (np.bincount(key, w, minlength=2 * MINUTES).reshape(2, MINUTES) for w in (np.ones(x.size), x, x * x))
        return cls(*sums)


def peeks(minutes: Minutes, alpha: float) -> bool:
    """Whether the one-sided z-test of all requests so far is significant at the end of some minute."""
    n, total, square = (np.cumsum(sums, axis=1) for sums in (minutes.n, minutes.total, minutes.square))
    mean = total / np.maximum(n, 1)
    variance = np.maximum(square / np.maximum(n, 1) - mean * mean, 0) / np.maximum(n, 1)
    se = np.sqrt(variance.sum(axis=0))
    z = (mean[1] - mean[0]) / np.where(se > 0, se, np.inf)
    enough = n.min(axis=0) >= LEAST
    return bool((enough & (z > NormalDist().inv_cdf(1 - alpha))).any())


def polls(minutes: Minutes, margin: float) -> bool:
    """Whether more minutes than the failure limit showed the treatment above control's mean and the margin."""
    both = minutes.n.min(axis=0) > 0
    mean = minutes.total / np.maximum(minutes.n, 1)
    failed = both & (mean[1] > (1 + margin) * mean[0])
    return int(np.count_nonzero(failed)) > FAILURE_LIMIT
