"""One rate against a limit: Robbins' beta mixture, valid at every look.

A Beta(1/2, 1/2) mixture of Bernoulli likelihoods against the hypothesised rate. Count units with a bad event, not
events.

Source: Howard, Ramdas, McAuliffe, Sekhon, Ann. Statist. 49(2), 2021, after Robbins, Ann. Math. Statist. 41, 1970.
"""

from __future__ import annotations

import math

from scipy.special import betaincc

from stoploss.stats.errors import require_between, require_count, require_part

_LOWEST_LOG_E = -700.0
_BISECTIONS = 100


def log_e_not_equal(successes: int, trials: int, rate: float, *, prior: float = 0.5) -> float:
    """ln of the evidence against "the rate is exactly this".

    successes  events, 0 to trials
    trials     units, >= 0
    rate       the hypothesised rate, in (0, 1)
    prior      both parameters of the beta mixture, > 0

    >>> round(log_e_not_equal(0, 500, 0.013262569232341648), 6)
    2.995732
    """
    require_count("trials", trials)
    require_part("successes", successes, "trials", trials)
    require_between("rate", rate, 0, 1)
    require_between("prior", prior, 0, math.inf)
    failures = trials - successes
    mixture = _log_beta(prior + successes, prior + failures) - _log_beta(prior, prior)
    return mixture - successes * math.log(rate) - failures * math.log1p(-rate)


def log_e_above(successes: int, trials: int, limit: float) -> float:
    """ln of the evidence against "the rate is at or below the limit", never below -700.

    Parameters as in log_e_not_equal, with the mixture cut to the rates above the limit.

    >>> log_e_above(0, 0, 0.01), log_e_above(0, 10_000, 0.5)
    (0.0, -700.0)
    """
    both = log_e_not_equal(successes, trials, limit)
    posterior = float(betaincc(0.5 + successes, 0.5 + trials - successes, limit))
    prior = float(betaincc(0.5, 0.5, limit))
    # A mass that underflows belongs to a rate far below the limit, where there is no evidence to speak of.
    return max(both + math.log(posterior) - math.log(prior), _LOWEST_LOG_E) if posterior > 0 else _LOWEST_LOG_E


def rate_limits(successes: int, trials: int, alpha: float, *, prior: float = 0.5) -> tuple[float, float]:
    """Lower and upper limit of the rate that hold together, at every look, with error alpha.

    successes, trials, prior  as in log_e_not_equal
    alpha                     in (0, 1)

    >>> [round(limit, 6) for limit in rate_limits(0, 500, 0.05)]
    [0.0, 0.013263]
    """
    require_between("alpha", alpha, 0, 1)
    require_count("trials", trials)
    require_part("successes", successes, "trials", trials)
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    lower = _crossing(successes, trials, alpha, prior, inside=rate, outside=0.0) if successes else 0.0
    upper = _crossing(successes, trials, alpha, prior, inside=rate, outside=1.0) if successes < trials else 1.0
    return lower, upper


def _crossing(successes: int, trials: int, alpha: float, prior: float, *, inside: float, outside: float) -> float:
    """Bisection for the rate where the evidence reaches ln(1/alpha), between the estimate and an end of [0, 1]."""
    target = -math.log(alpha)
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            break
        if log_e_not_equal(successes, trials, middle, prior=prior) < target:
            inside = middle
        else:
            outside = middle
    return outside


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
