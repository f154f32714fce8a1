"""CUPED: takes out of a metric what a covariate from before the assignment already knew of it.

y - theta (x - centre) has the same difference between the arms as y, since assignment cannot move x, and its variance
is smaller by the factor 1 - corr(x, y)**2. Any theta that is frozen before the test keeps every guarantee; the best is
the slope within the arms. x must precede assignment: one that the treatment can move takes the harm out with it.

Source: Deng, Xu, Kohavi, Walker, WSDM 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from stoploss.stats.errors import StatisticsInputError, require_count

IntArray = npt.NDArray[np.int64]

LARGEST_CORRECTION: Final = 2.0**40
"""What one trace may be corrected by, in units of y. A limit on a function of x alone, so it favours no arm."""


@dataclass(frozen=True, slots=True)
class PairSums:
    """Exact sums over the traces of one arm, integers of any size: metric y and covariate x, each in its own unit."""

    n: int = 0
    x: int = 0
    y: int = 0
    xx: int = 0
    xy: int = 0
    yy: int = 0

    def plus(self, x: int, y: int) -> Self:
        """With one more trace. The order of traces does not matter."""
        return type(self)(self.n + 1, self.x + x, self.y + y, self.xx + x * x, self.xy + x * y, self.yy + y * y)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What is subtracted: theta * (x - centre).

    theta   units of y per unit of x
    centre  the mean of x, so that the adjusted metric keeps the mean of y and relative margins their meaning
    gain    variance left, 1 - corr**2 within the arms, in [0, 1]; traces needed shrink by as much
    """

    theta: float
    centre: float
    gain: float


def fit(*arms: PairSums) -> Adjustment:
    """The adjustment from one arm's sums or from several, pooled within the arms.

    arms  each of at least 2 traces

    A covariate that does not vary explains nothing: theta is 0 and gain 1. Exact up to the last division.

    >>> fit(PairSums(n=4, x=10, y=22, xx=30, xy=64, yy=138))
    Adjustment(theta=1.8, centre=2.5, gain=0.047058823529411764)
    """
    if not arms:
        raise StatisticsInputError("arms is empty; an adjustment needs the sums of at least one arm")
    for arm in arms:
        require_count("n", arm.n, at_least=2)
    xx = sum(Fraction(arm.n * arm.xx - arm.x * arm.x, arm.n) for arm in arms)
    xy = sum(Fraction(arm.n * arm.xy - arm.x * arm.y, arm.n) for arm in arms)
    yy = sum(Fraction(arm.n * arm.yy - arm.y * arm.y, arm.n) for arm in arms)
    if xx < 0 or yy < 0 or xy * xy > xx * yy:
        raise StatisticsInputError(f"sums are {arms!r}; no values of x and y have these sums of squares and products")
    centre = sum(arm.x for arm in arms) / sum(arm.n for arm in arms)
    if not xx:
        return Adjustment(0.0, centre, 1.0)
    return Adjustment(float(xy / xx), centre, float(1 - xy * xy / (xx * yy)) if yy else 1.0)


def adjusted(y: IntArray, x: IntArray, adjustment: Adjustment) -> IntArray:
    """y - theta (x - centre) of each trace, rounded to y's integer unit, so that its sums are exact in any order.

    y, x  int64 of one shape, each strictly between -2**40 and 2**40; the result lies within 2**41

    >>> adjusted(np.array([1_000, 1_000]), np.array([2, 3]), Adjustment(theta=1.8, centre=2.5, gain=0.05)).tolist()
    [1001, 999]
    """
    if y.shape != x.shape:
        raise StatisticsInputError(f"y has shape {y.shape} and x {x.shape}; each trace needs both")
    correction = np.rint(adjustment.theta * (x - adjustment.centre))
    bounded: IntArray = np.clip(correction, -LARGEST_CORRECTION, LARGEST_CORRECTION).astype(np.int64)
    return y - bounded
