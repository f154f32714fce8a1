"""What plain sums tell of many contrasts at once, so that only what is near its limit is worked out exactly.

An exact contrast takes five exactly rounded sums; of a hundred segments nearly all lie far from their limits, and there
sums that are right to ten digits say the same for certain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stoploss.stats.contrast import Contrasts

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SLACK = 1e-6
"""How far beyond its limit evidence must be, in nats and relative to z**2: more than any rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """One number for each cell.

    there          there is a contrast
    silent         neither harm nor safety can be shown: no evidence comes near its limit
    safe           safety is shown for certain, the floors apart
    n_eff, spread  as in Contrast, to many digits; meaningless where there is none
    """

    there: Mask
    silent: Mask
    safe: Mask
    n_eff: FloatArray
    spread: FloatArray


def screen(found: Contrasts) -> Screen:
    """One pass over all cells.

    With x = z sqrt(k / (1 + k)), log e is at most ln 2 + x**2 / 2 - ln(1 + k) / 2, and at least that without ln 2 where
    z > 0; few groups only lower |z|. Silent: the upper bound is below the limit. Safe: the lower one is above it.

    >>> from stoploss.stats.contrast import ArmTotals, ClosedEpochs, EpochTotals, Margin, contrasts
    >>> pairs = np.array([[[5, 50], [5, 61], [5, 54]]]), np.array([[[5, 70], [5, 82], [5, 69]]])
    >>> epoch = EpochTotals(*(ArmTotals(n=p[:, :, 0], sum_x=p[:, :, 1]) for p in pairs))
    >>> seen = screen(contrasts(ClosedEpochs.none(1, 3), epoch, margin=Margin(), alphas=[0.05], tstar=5000))
    >>> seen.silent.tolist(), seen.safe.tolist(), seen.n_eff.round(6).tolist()
    ([True], [False], [3.0])
    """
    state, weight = found.combined, found.combined.weight
    square = state.influence * state.influence
    second, third, fourth = (x.sum(axis=1) for x in (square, square * state.influence, square * square))
    mass = np.maximum((state.control_mass**2).sum(axis=1), (state.treatment_mass**2).sum(axis=1))
    with np.errstate(all="ignore"):
        z = (state.weighted_difference - found.margin.absolute * weight) / np.sqrt(second)
        kappa, n_eff = third / second**1.5, weight * weight / mass
        z = z + kappa * z * z / 3 + kappa * kappa * z * z * z / 27 + kappa / 6
        k = 4 * weight * np.square(found.rhos)
        limit, shrink, start = -np.log(found.alphas), k / (1 + k) / 2, np.log1p(k) / 2
        least = _few_groups_square(z, n_eff)
        silent = math.log(2) - start + shrink * z * z < limit - SLACK
        safe = (z < 0) & (shrink * least - start > limit + SLACK * (1 + least))
        return Screen((weight > 0) & (second > 0), silent, safe, n_eff, second * second / fourth)


def _few_groups_square(z: FloatArray, n_eff: FloatArray) -> FloatArray:
    """The square of correct_few_groups; no number where there are no groups."""
    nu = n_eff - 1
    lowered: FloatArray = np.square((8 * nu + 1) / (8 * nu + 3)) * nu * np.log1p(z * z / nu)
    return lowered
