"""A threshold frozen from control's first values, so that "slow" means the same to the last trace of an experiment.

A quantile that moved with the data would follow the harm it is to show. The threshold is one of the first values
itself, an exact integer; they are then left out of the test. With it a continuous metric becomes a rate, "above the
threshold", free of any assumption on tails, or is capped at it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from stoploss.stats.errors import require_between, require_count


def freeze(values: Sequence[int], quantile: float) -> int:
    """The order statistic of rank ceil(quantile * n), exactly, in the metric's integer unit.

    values    control's first, at least 1 / (1 - quantile) and 1 / quantile of them, in any order
    quantile  in (0, 1), taken as the decimal number that it is written as: 0.95 is 19/20

    >>> freeze(range(1, 1_001), 0.95)
    950
    """
    require_between("quantile", quantile, 0, 1)
    share, size = Fraction(str(quantile)), len(values)
    require_count("size", size, at_least=math.ceil(1 / min(share, 1 - share)))
    return sorted(values)[math.ceil(share * size) - 1]
