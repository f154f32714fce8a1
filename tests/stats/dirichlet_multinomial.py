"""Sample ratio of any number of arms at one constant split: the Dirichlet-multinomial Bayes factor.

The published test for the special case that stats.sample_ratio generalises to ramps; kept for experiments with
more than two arms and as an independent check. Source: Lindon & Malek, NeurIPS 2022 (arXiv 2011.03567).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stoploss.stats.errors import StatisticsInputError, require_between, require_count


def log_bayes_factor(counts: Sequence[int], shares: Sequence[float], *, concentration: float = 1000.0) -> float:
    """ln of the evidence that units do not fall into the arms as the shares say.

    counts         units first seen per arm, >= 0, cumulative
    shares         the arms' configured shares, in (0, 1), summing to 1 within 1e-9
    concentration  how close to the shares the alternative is expected, > 0; 1000 is quick on gross mismatch

    >>> round(log_bayes_factor([500, 600], [0.5, 0.5], concentration=100), 9)
    2.930243971
    """
    _require_arms(counts, shares)
    require_between("concentration", concentration, 0, math.inf)
    terms = [math.lgamma(concentration) - math.lgamma(concentration + sum(counts))]
    for count, share in zip(counts, shares, strict=True):
        prior = concentration * share
        terms += [math.lgamma(prior + count), -math.lgamma(prior), -count * math.log(share)]
    return math.fsum(terms)


def _require_arms(counts: Sequence[int], shares: Sequence[float]) -> None:
    if len(counts) != len(shares) or len(shares) < 2:
        raise StatisticsInputError(
            f"{len(counts)} counts and {len(shares)} shares were given; two arms or more, paired"
        )
    for arm, (count, share) in enumerate(zip(counts, shares, strict=True)):
        require_count(f"counts[{arm}]", count)
        require_between(f"shares[{arm}]", share, 0, 1)
    if abs(math.fsum(shares) - 1) > 1e-9:
        raise StatisticsInputError(f"shares sum to {math.fsum(shares)!r}; they must sum to 1")
