"""Sample ratio: do units arrive in the arms as the split says? An e-process that is exact across epochs.

Given the split s, a unit first seen in an epoch falls into treatment with probability s, independently. Against it
stands a mixture of constant shifts delta of the log odds: p = s e**delta / (s e**delta + 1 - s), and

    e = mean over delta of exp( sum over epochs of x_T ln(p / s) + x_C ln((1 - p) / (1 - s)) ).

Each unit counts once per experiment, in the arm and epoch where it is first seen, ordered by request start.
Source: derived for this product from the Bernoulli likelihood ratio, after Lindon & Malek, NeurIPS 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stoploss.stats.errors import require_between, require_count
from stoploss.stats.mixtures import geometric_grid, log_mean_exp

_SIZES = geometric_grid(0.01, 2.0, 12)
TOWARDS_TREATMENT = _SIZES
LOG_ODDS_SHIFTS = tuple(-size for size in _SIZES) + _SIZES


@dataclass(frozen=True, slots=True)
class EpochCounts:
    """Units first seen in one epoch.

    control, treatment  units, >= 0
    share               the treatment's share among the two arms as configured, in (0, 1)
    """

    control: int
    treatment: int
    share: float

    def __post_init__(self) -> None:
        require_count("control", self.control)
        require_count("treatment", self.treatment)
        require_between("share", self.share, 0, 1)


def log_e(epochs: Iterable[EpochCounts], shifts: Sequence[float] = LOG_ODDS_SHIFTS) -> float:
    """ln of the evidence against the configured split; alarm when it reaches ln(1/alpha). No epoch: no evidence, 0.

    shifts  log odds of the alternatives; TOWARDS_TREATMENT tests one side: the treatment gets more than its share

    The order of epochs and the batching of units do not matter.

    >>> round(log_e([EpochCounts(control=600, treatment=500, share=0.5)]), 6)
    2.081224
    """
    seen = tuple(epochs)
    return log_mean_exp([_log_likelihood_ratio(seen, shift) for shift in shifts])


def _log_likelihood_ratio(epochs: tuple[EpochCounts, ...], shift: float) -> float:
    """ln(p/s) = shift - ln(1 + s (e**shift - 1)), and ln((1-p)/(1-s)) is the same without the shift."""
    odds = math.expm1(shift)
    return math.fsum(
        epoch.treatment * shift - (epoch.treatment + epoch.control) * math.log1p(epoch.share * odds) for epoch in epochs
    )
