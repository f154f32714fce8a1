"""Weighted e-Bonferroni: many streams, one error budget, whenever one looks and however they depend.

Give stream i a weight w_i > 0 with sum w_i <= 1 and let it alarm, for good, at log e >= ln(1 / (alpha w_i)). Then
any false alarm has probability at most alpha.

Source: union bound over Ville's inequality; Wang & Ramdas, J. R. Statist. Soc. B 84(3), 2022.
"""

from __future__ import annotations

import math

from stoploss.stats.errors import StatisticsInputError, require_between, require_count


def late_weight(j: int) -> float:
    """Weight reserved for the j-th stream that turns up, j >= 1: 1/(2 j (j + 1)). All together 1/2, for ever.

    Polynomial, since halving each time would leave the 20th stream a budget that nothing can reach.

    >>> late_weight(3)
    0.041666666666666664
    """
    require_count("j", j, at_least=1)
    return 0.5 / (j * (j + 1))


def stream_weight(j: int, capacity: int) -> float:
    """Weight of the j-th stream where capacity is known: half shared evenly, half by order of appearance.

    j         1 to capacity, or capacity + 1 for the cell that collects what does not fit; it has no even share
    capacity  most streams followed on their own, >= 1

    >>> stream_weight(1, 64)
    0.2578125
    """
    require_count("capacity", capacity, at_least=1)
    if not 1 <= j <= capacity + 1:
        raise StatisticsInputError(
            f"j is {j!r}; with a capacity of {capacity} it must lie between 1 and {capacity + 1}"
        )
    return late_weight(j) + (0.5 / capacity if j <= capacity else 0.0)


def log_limit(alpha: float, weight: float) -> float:
    """What a stream's log e must reach: ln(1 / (alpha * weight)).

    alpha   error budget shared by all streams, in (0, 1)
    weight  the stream's, in (0, 1]

    >>> round(log_limit(0.01, 0.25), 6)
    5.991465
    """
    require_between("alpha", alpha, 0, 1)
    if not 0 < weight <= 1:
        raise StatisticsInputError(f"weight is {weight!r}; it must be above 0 and at most 1")
    return -math.log(alpha * weight)
