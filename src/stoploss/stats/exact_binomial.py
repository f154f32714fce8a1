"""Exact limits of a rate seen once, at the end: Clopper and Pearson's interval for a binomial proportion.

For a rate that is looked at while it grows see stats/one_rate.py. Source: Clopper & Pearson, Biometrika 26(4), 1934.
"""

from __future__ import annotations

from scipy.special import betainc

from stoploss.stats.errors import require_between, require_count, require_part


def interval(successes: int, trials: int, alpha: float) -> tuple[float, float]:
    """Lower and upper limit of the rate; each is wrong with probability alpha / 2 at most.

    successes  0 to trials
    trials     independent, >= 0; without any, every rate is possible
    alpha      error of both limits together, in (0, 1)

    >>> [round(limit, 6) for limit in interval(30, 2_000, 0.01)]
    [0.008909, 0.023503]
    """
    require_count("trials", trials)
    require_part("successes", successes, "trials", trials)
    require_between("alpha", alpha, 0, 1)
    failures = trials - successes
    lower = beta_quantile(alpha / 2, successes, failures + 1) if successes else 0.0
    upper = beta_quantile(1 - alpha / 2, successes + 1, failures) if failures else 1.0
    return lower, upper


def beta_quantile(probability: float, a: int, b: int) -> float:
    """The x below which a Beta(a, b) variable lies with a probability, by bisection to the last bit.

    probability  in (0, 1); a, b  >= 1

    >>> round(beta_quantile(0.5, 2, 1), 9)
    0.707106781
    """
    require_between("probability", probability, 0, 1)
    require_count("a", a, at_least=1)
    require_count("b", b, at_least=1)
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        if betainc(a, b, middle) < probability:
            low = middle
        else:
            high = middle
    return high
