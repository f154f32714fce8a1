"""When a budget runs out: the inverse-Gaussian time at which random spending first reaches what remains.

Spending is taken as Brownian motion with drift: costs of many independent traces, none of which is a large part of the
budget. With R left, rate m and variance v per hour,

    P(T <= t) = Phi((m t - R) / sqrt(v t)) + exp(2 m R / v) Phi(-(m t + R) / sqrt(v t)),     E[T] = R / m.

It knows neither the time of day nor the error of m itself: show R / m at other windows' rates beside it.
Source: Chhikara & Folks, The Inverse Gaussian Distribution, 1989.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from stoploss.stats.asymptotic import log_normal_cdf
from stoploss.stats.errors import StatisticsInputError, require_between


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """The distribution of the hours until the budget is gone.

    remaining          R > 0, in the budget's unit
    rate_per_h         m > 0, in that unit per hour
    variance_per_h     v > 0, in that unit squared per hour
    """

    remaining: float
    rate_per_h: float
    variance_per_h: float

    def __post_init__(self) -> None:
        for name in ("remaining", "rate_per_h", "variance_per_h"):
            require_between(name, getattr(self, name), 0, math.inf)

    @classmethod
    def of_window(cls, remaining: float, spent: float, sum_of_squares: float, window_h: float) -> Self:
        """From the traces of one window: the sum of their costs and of their squares.

        The variance of a random number of traces needs no mean taken off: v = arrivals per hour * E[cost**2].
        """
        require_between("window_h", window_h, 0, math.inf)
        return cls(remaining, spent / window_h, sum_of_squares / window_h)

    @property
    def mean_h(self) -> float:
        return self.remaining / self.rate_per_h

    def log_cdf(self, hours: float) -> float:
        """ln P(T <= hours), for hours > 0; never overflows.

        The second term is exp(-a**2 / 2) erfcx(b / sqrt 2) / 2 with a the first and b the second argument of Phi, since
        2 m R / v = (b**2 - a**2) / 2: two huge exponents that nearly cancel are never formed.

        >>> round(math.exp(Exhaustion(remaining=10.0, rate_per_h=1.0, variance_per_h=4.0).log_cdf(10.0)), 9)
        0.616163147
        """
        from scipy.special import erfcx  # 0.15 s of processor, and many a process that knows of budgets asks for none

        require_between("hours", hours, 0, math.inf)
        spread = math.sqrt(self.variance_per_h * hours)
        a = (self.rate_per_h * hours - self.remaining) / spread
        b = (self.rate_per_h * hours + self.remaining) / spread
        first, second = log_normal_cdf(a), -0.5 * a * a + math.log(0.5 * float(erfcx(b / math.sqrt(2))))
        return min(max(first, second) + math.log1p(math.exp(-abs(first - second))), 0.0)

    def quantile_h(self, probability: float) -> float:
        """The hours within which the budget is gone with a probability in (0, 1), by bisection to the last bit.

        >>> [round(Exhaustion(10.0, 1.0, 4.0).quantile_h(q), 6) for q in (0.1, 0.5, 0.9)]
        [3.983501, 8.365583, 18.066034]
        """
        if not 0 < probability < 1:
            raise StatisticsInputError(f"probability is {probability!r}; it must lie strictly between 0 and 1")
        target, low, high = math.log(probability), 0.0, self.mean_h
        while self.log_cdf(high) < target:
            low, high = high, 2 * high
        while low < (middle := (low + high) / 2) < high:
            if self.log_cdf(middle) < target:
                low = middle
            else:
                high = middle
        return high
