"""When a growing sum first passes the bound of a sequential test: quantiles of its stopping time, without simulation.

The evidence of a guardrail is a Brownian motion with drift that is watched against a curved bound. At each time the
bound is taken for its tangent there, for which the probability of having passed is known exactly. The bounds of the
normal mixture are concave and nearly straight, so that little is lost: medians are within a few per cent of simulated
ones (tests/planning/test_passage.py).

Sources: tangent approximation, Ferebee, Z. Wahrscheinlichkeitstheorie 61, 1982; straight bound, Siegmund, Sequential
Analysis, 1985, equation 3.15.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from stoploss.stats.asymptotic import log_normal_cdf
from stoploss.stats.errors import require_between

Bound = Callable[[float], float]
STEP = 1e-3
ROUNDS = 28


def passed_by(t: float, drift: float, bound: Bound) -> float:
    """Probability that a Brownian motion with drift has reached its bound by t.

    t      > 0, in the sum's own time (requests, events); its variance is t
    drift  mean growth per unit of t
    bound  what must be reached at each time; infinite where nothing can pass yet

    >>> round(passed_by(100.0, 0.3, lambda t: 20.0), 6)
    0.998742
    """
    require_between("t", t, 0, math.inf)
    here, before, after = bound(t), bound(t * (1 - STEP)), bound(t * (1 + STEP))
    if not math.isfinite(before):
        return 0.0
    slope = (after - before) / (2 * STEP * t)
    start, rise, root = here - slope * t, drift - slope, math.sqrt(t)
    if start <= 0:
        return math.exp(log_normal_cdf((drift * t - here) / root))
    mirrored = 2 * start * rise + log_normal_cdf(-(start + rise * t) / root)
    return min(1.0, math.exp(log_normal_cdf((drift * t - here) / root)) + math.exp(min(mirrored, 0.0)))


def time_to_pass(share: float, drift: float, bound: Bound, *, least: float, most: float) -> float | None:
    """The t by which this share of runs has passed, by bisection of its logarithm; None: not by `most`.

    share        in (0, 1); 0.5 asks for the median
    least, most  where to look, 0 < least < most
    """
    require_between("share", share, 0, 1)
    if passed_by(most, drift, bound) < share:
        return None
    low, high = math.log(least), math.log(most)
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        if passed_by(math.exp(middle), drift, bound) < share:
            low = middle
        else:
            high = middle
    return math.exp(high)
