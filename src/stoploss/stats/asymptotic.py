"""Asymptotic confidence sequences: normal-mixture evidence for a mean that may be looked at any time.

All functions take z (an estimate in units of its standard error) and k = clock * rho**2, where the clock counts
observations and rho is the mixture scale. H0 is rejected, for good, when log e >= ln(1/alpha).

Sources: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, arXiv 2103.06476 (asymptotic confidence sequences);
Howard, Ramdas, McAuliffe, Sekhon, Ann. Statist. 49(2), 2021 (normal mixtures); parameters as in GrowthBook's gbstats.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

from stoploss.stats.errors import StatisticsInputError, require_between

_ROOT_TWO = math.sqrt(2)
_LOG_TWO = math.log(2)
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@lru_cache(maxsize=4_096)
def tuning_rho(alpha: float, tstar: float, *, sided: Literal["one", "two"]) -> float:
    """Mixture scale rho that makes the bound nearly tightest when the clock reads tstar.

    alpha  error budget of the stream, in (0, 1); one-sided in (0, 0.5)
    tstar  observations at which to be tightest, > 0; err low with equal arms
    sided  "two", or "one", which spends 2 * alpha

    The approximation of gbstats, 1 to 2 % below the optimum, which costs nothing measurable.

    >>> round(tuning_rho(0.05, 5000, sided="two"), 9)
    0.039840067
    """
    require_between("tstar", tstar, 0, math.inf)
    require_between("alpha", alpha, 0, 1 if sided == "two" else 0.5)
    spent = -2 * math.log(alpha if sided == "two" else 2 * alpha)
    return math.sqrt((spent + math.log(spent + 1)) / tstar)


def log_normal_cdf(x: float) -> float:
    """ln of the standard normal distribution function, to full precision in both tails.

    x  any finite number; below -20 an asymptotic series takes over, where erfc would underflow

    >>> round(log_normal_cdf(-40.0), 6)
    -804.608442
    """
    if not math.isfinite(x):
        raise StatisticsInputError(f"x is {x!r}; it must be a finite number")
    if x > 0:
        return math.log1p(-0.5 * math.erfc(x / _ROOT_TWO))
    if x > -20:
        return math.log(0.5 * math.erfc(-x / _ROOT_TWO))
    return -0.5 * x * x - math.log(-x) - _HALF_LOG_TWO_PI + math.log1p(_mills_series(1 / (x * x)))


def _mills_series(y: float) -> float:
    """-y + 3 y**2 - 15 y**3 + ..., the relative correction of the normal tail at y = 1 / x**2 <= 1/400."""
    total, term = 0.0, 1.0
    for odd in (1, 3, 5, 7, 9, 11, 13, 15):
        term *= -odd * y
        total += term
    return total


def log_e_two_sided(z: float, k: float) -> float:
    """ln of the evidence against "the mean equals its hypothesised value".

    z  (estimate - hypothesised value) / standard error, finite
    k  clock * rho**2, > 0

    >>> round(log_e_two_sided(z=1.0, k=7.936160), 6)
    -0.651005
    """
    _require_evidence(z, k)
    return 0.5 * k / (1 + k) * z * z - 0.5 * math.log1p(k)


def log_e_one_sided(z: float, k: float) -> float:
    """ln of the evidence against "the mean is at or below its hypothesised value"; -z tests the other side.

    z  (estimate - hypothesised value) / standard error, finite
    k  clock * rho**2, > 0, with rho tuned one-sided

    The mixture is half-normal: log e = ln 2 - ln(1 + k)/2 + x**2/2 + ln Phi(x) with x = z * sqrt(k / (1 + k)).

    >>> round(log_e_one_sided(z=1.4123131275535805, k=391.59 * 0.001265771921059247), 9)
    0.589052533
    """
    _require_evidence(z, k)
    x = z * math.sqrt(k / (1 + k))
    return _LOG_TWO - 0.5 * math.log1p(k) + _log_half_normal_mgf(x)


def _log_half_normal_mgf(x: float) -> float:
    """x**2/2 + ln Phi(x). Far to the left the two cancel, so the tail's square is left out instead of subtracted."""
    if x > -20:
        return 0.5 * x * x + log_normal_cdf(x)
    return -math.log(-x) - _HALF_LOG_TWO_PI + math.log1p(_mills_series(1 / (x * x)))


def halfwidth_one_sided(se: float, k: float, alpha: float) -> float:
    """Distance from the estimate to a one-sided limit that holds at every look at once, in closed form.

    se     standard error, >= 0, in the metric's own unit, as is the result
    k      clock * rho**2, > 0, with rho tuned one-sided
    alpha  error budget of the stream, in (0, 1)

    Slightly conservative: never below se * critical_z_one_sided(k, alpha), the exact dual of log_e_one_sided.

    >>> round(halfwidth_one_sided(se=0.12983081254184736, k=6461 * 0.03557768852889753**2, alpha=0.05), 9)
    0.360945108
    """
    _require_width(se, k, alpha)
    return se * math.sqrt(2 * (k + 1) / k * math.log1p(math.sqrt(k + 1) / (2 * alpha)))


def critical_z_one_sided(k: float, alpha: float) -> float:
    """The z at which log_e_one_sided reaches ln(1/alpha), so that limits and alarms never contradict each other.

    k, alpha  as in halfwidth_one_sided

    Newton's method on a convex, increasing function from the closed-form bound above the root: it falls
    monotonically and stops at the first step that no longer falls.

    >>> round(10 * critical_z_one_sided(k=100 * 0.25157225356**2, alpha=0.05), 4)
    27.6607
    """
    shrink = math.sqrt(k / (1 + k)) if k > 0 else 0.0
    x = halfwidth_one_sided(1.0, k, alpha) * shrink
    target = 0.5 * math.log1p(k) - _LOG_TWO - math.log(alpha)
    while True:
        slope = x + math.exp(-0.5 * x * x - _HALF_LOG_TWO_PI - log_normal_cdf(x))
        lower = x - (_log_half_normal_mgf(x) - target) / slope
        if not lower < x:
            return x / shrink
        x = lower


def _require_evidence(z: float, k: float) -> None:
    if not math.isfinite(z):
        raise StatisticsInputError(f"z is {z!r}; it must be a finite number")
    require_between("k", k, 0, math.inf)


def _require_width(se: float, k: float, alpha: float) -> None:
    if not 0 <= se < math.inf:
        raise StatisticsInputError(f"se is {se!r}; it must be a finite number of at least 0")
    require_between("k", k, 0, math.inf)
    require_between("alpha", alpha, 0, 1)
