"""A threshold frozen from control's first values, so that "slow" means the same to the last trace of an experiment.

A quantile that moved with the data would follow the harm it is to show. The threshold is one of the first values
itself, an exact integer; they are then left out of the test. With it a continuous metric becomes a rate, "above the
threshold", free of any assumption on tails, or is capped at it.

The share of later values of control above the k-th smallest of n is Beta(n + 1 - k, k) before the reference is drawn,
whatever the distribution (ties only lower it). Source: order statistics, David & Nagaraja, 3rd ed. 2003, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from stoploss.stats.errors import require_between, require_count
from stoploss.stats.exact_binomial import beta_quantile


@dataclass(frozen=True, slots=True)
class FrozenReference:
    """A threshold and where it comes from.

    threshold  in the metric's integer unit; a value is "above" when it is greater
    rank       its place among the reference values in ascending order, 1 to size
    size       reference values, >= 1
    """

    threshold: int
    rank: int
    size: int

    def exceedance_limit(self, confidence: float = 0.999) -> float:
        """Upper limit p0 of the share of control's values above the threshold.

        confidence  probability that a reference is drawn for which the limit holds, in (0, 1)

        >>> round(FrozenReference(threshold=5_000, rank=1_900, size=2_000).exceedance_limit(), 6)
        0.066869
        """
        return beta_quantile(confidence, self.size + 1 - self.rank, self.rank)


def freeze(values: Sequence[int], quantile: float) -> FrozenReference:
    """The order statistic of rank ceil(quantile * n), exactly.

    values    control's first, at least 1 / (1 - quantile) and 1 / quantile of them, in any order
    quantile  in (0, 1), taken as the decimal number that it is written as: 0.95 is 19/20

    >>> freeze(range(1, 1_001), 0.95)
    FrozenReference(threshold=950, rank=950, size=1000)
    """
    require_between("quantile", quantile, 0, 1)
    share, size = Fraction(str(quantile)), len(values)
    require_count("size", size, at_least=math.ceil(1 / min(share, 1 - share)))
    rank = math.ceil(share * size)
    return FrozenReference(sorted(values)[rank - 1], rank, size)
