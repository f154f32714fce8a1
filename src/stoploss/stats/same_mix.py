"""Do two samples of categories come from one distribution? An e-process that is exact for every distribution.

Against H0 (a reference and the later values are independent draws of the same unknown p) stand two Jeffreys mixtures,
one for each sample:

    e = m(reference) m(later) / max over p of p(reference and later),   m = Dirichlet(1/2, ..., 1/2) multinomial.

The numerator is the density of a sequence, and the denominator is at least that of the true p, so that E[e] <= 1
whatever p is and whenever one looks (universal inference). No draw of the reference can be unlucky, as it can where
its frequencies are taken for the truth.
Source: Wasserman, Ramdas, Balakrishnan, PNAS 117(29), 2020; mixtures after Krichevsky & Trofimov, IEEE IT 27(2), 1981.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stoploss.stats.errors import StatisticsInputError, require_count


def log_e(reference: Sequence[int], later: Sequence[int]) -> float:
    """ln of the evidence that the later values fall into the categories otherwise; alarm at ln(1/alpha).

    reference, later  counts per category, >= 0, of equal length >= 2; their order in time does not matter

    >>> round(log_e([250, 250], [150, 350]), 6), log_e([250, 250], [250, 250]) < 0
    (14.338671, True)
    """
    if len(reference) != len(later) or len(reference) < 2:
        raise StatisticsInputError(
            f"{len(reference)} and {len(later)} counts were given; both samples need the same categories, two or more"
        )
    for name, counts in (("reference", reference), ("later", later)):
        for category, count in enumerate(counts):
            require_count(f"{name}[{category}]", count)
    both = [a + b for a, b in zip(reference, later, strict=True)]
    return math.fsum([_log_mixture(reference), _log_mixture(later), -_log_largest_likelihood(both)])


def _log_mixture(counts: Sequence[int]) -> float:
    prior = 0.5 * len(counts)
    terms = [math.lgamma(prior) - math.lgamma(prior + sum(counts))]
    return math.fsum(terms + [math.lgamma(0.5 + count) - math.lgamma(0.5) for count in counts])


def _log_largest_likelihood(counts: Sequence[int]) -> float:
    total = sum(counts)
    return math.fsum(count * math.log(count / total) for count in counts if count)
