"""The contrast of two arms' means, robust to repeated units, ramps, drift, skew and early looks.

Every unit is hashed, with the same hash in both arms and all epochs, into one of G groups; per epoch, arm and
group only (n, sum of x) is kept, exact integers that add in any order. From them, per epoch e:

    mean        sum x / n of the arm
    inf_g       sqrt((occ - 1)/occ) * (sum x_g - mean * n_g) / (n - n_g), the jackknife influence of group g
    difference  mean_T - (1 + r) * mean_C, influence likewise
    h           n_T * n_C / (n_T + n_C), the epoch's weight; 0 if an arm has fewer than 2 occupied groups

and over epochs: difference = sum h * difference / sum h, A_g = sum h * inf_g, se = sqrt(sum A_g**2) / sum h. Arms are
compared only within an epoch, so a drift common to both cancels however the split moved; a unit that returns, even in
the other arm, meets its own earlier influence in the same A_g. Weights never depend on the data's variance, since
under skew a small mean comes with a small variance. z is then corrected for skew and for few groups.

All arrays have a leading axis of cells (one contrast each: the whole, or one segment value). Source: derived and
simulated for this product; jackknife and cluster-robust variance after Cameron & Miller, J. Hum. Resour. 50(2), 2015.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from stoploss.stats.asymptotic import critical_z_one_sided, log_e_one_sided, tuning_rho
from stoploss.stats.corrections import correct_few_groups, correct_skew, undo_few_groups, undo_skew
from stoploss.stats.errors import StatisticsInputError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ArmTotals:
    """What one arm has seen in one epoch, per cell and group.

    n      traces, int64 of shape (cells, groups), >= 0
    sum_x  sum of the metric in its integer unit, int64 of the same shape; n * max|x| < 2**63
    """

    n: IntArray
    sum_x: IntArray

    def __post_init__(self) -> None:
        if self.n.ndim != 2 or self.n.shape != self.sum_x.shape:
            raise StatisticsInputError(
                f"n has shape {self.n.shape} and sum_x {self.sum_x.shape}; both must be (cells, groups)"
            )
        if self.n.dtype != np.int64 or self.sum_x.dtype != np.int64:
            raise StatisticsInputError(f"totals are {self.n.dtype} and {self.sum_x.dtype}; both must be int64")


@dataclass(frozen=True, slots=True, eq=False)
class EpochTotals:
    """Both arms of one epoch, with equal shapes."""

    control: ArmTotals
    treatment: ArmTotals

    @property
    def arms(self) -> tuple[ArmTotals, ArmTotals]:
        return self.control, self.treatment

    def __post_init__(self) -> None:
        if self.control.n.shape != self.treatment.n.shape:
            raise StatisticsInputError(
                f"control has shape {self.control.n.shape} and treatment {self.treatment.n.shape}; "
                "both arms need the same cells and groups"
            )


@dataclass(frozen=True, slots=True)
class Margin:
    """How much worse the treatment may be. H0 is D <= 0 with D = s * (mu_T - (1 + s * relative) * mu_C) - absolute.

    worse     which way harm lies: "higher" (s = 1, as for latency) or "lower" (s = -1, as for a quality score)
    absolute  tolerated harm in the metric's integer unit, finite
    relative  tolerated harm as a share of control's mean, finite; only for metrics that stay positive
    """

    worse: Literal["higher", "lower"] = "higher"
    absolute: float = 0.0
    relative: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.absolute):
            raise StatisticsInputError(f"absolute margin is {self.absolute!r}; it must be a finite number")
        if not 0 < self.control_scale < math.inf:
            raise StatisticsInputError(
                f"relative margin is {self.relative!r}; control's mean times {self.control_scale!r} is no usable limit"
            )

    @property
    def sign(self) -> int:
        return 1 if self.worse == "higher" else -1

    @property
    def control_scale(self) -> float:
        return 1 + self.sign * self.relative

    @property
    def by_group(self) -> tuple[int, float]:
        """Sign and scale, for arrays of (cells, groups)."""
        return self.sign, self.control_scale

    def absolute_of(self, cell: int) -> float:
        return self.absolute


@dataclass(frozen=True, slots=True, eq=False)
class Margins:
    """One margin for each cell, all arrays (cells,): cells of several metrics are judged in one pass."""

    sign: FloatArray
    control_scale: FloatArray
    absolute: FloatArray

    @classmethod
    def of(cls, margins: Sequence[Margin]) -> Self:
        return cls(*np.array([(one.sign, one.control_scale, one.absolute) for one in margins], np.float64).T)

    @property
    def by_group(self) -> tuple[FloatArray, FloatArray]:
        return self.sign[:, np.newaxis], self.control_scale[:, np.newaxis]

    def absolute_of(self, cell: int) -> float:
        return float(self.absolute[cell])


@dataclass(frozen=True, slots=True, eq=False)
class ClosedEpochs:
    """All closed epochs in a size that does not grow with their number. Opaque to callers, but for saving it.

    weight               sum of h, (cells,)
    weighted_difference  sum of h * difference, (cells,)
    influence            A_g = sum of h * inf_g, (cells, groups)
    control_mass         W_g = sum of h * n_g / n of control, (cells, groups); treatment_mass likewise

    Bound to one Margin: fold and judge it with the same. Epochs are folded in ledger order.
    """

    weight: FloatArray
    weighted_difference: FloatArray
    influence: FloatArray
    control_mass: FloatArray
    treatment_mass: FloatArray

    @classmethod
    def none(cls, cells: int, groups: int) -> Self:
        flat, full = np.zeros(cells), np.zeros((cells, groups))
        return cls(flat, flat.copy(), full, full.copy(), full.copy())


class NoContrast(StrEnum):
    """Why there is no number yet."""

    NO_COMPARABLE_EPOCH = "no epoch has two occupied groups of units in both arms"
    NO_VARIATION = "the metric has not varied between groups of units"


@dataclass(frozen=True, slots=True)
class Contrast:
    """One cell's contrast with every intermediate. Positive differences are harm, in the metric's integer unit.

    difference    s * (mean_T - (1 + s * relative) * mean_C), epochs combined; the absolute margin is not subtracted
    se            its standard error, > 0
    kappa         skewness of the influences
    n_eff         effective number of groups of the arm that has fewer, >= 1
    spread        (sum A**2)**2 / sum A**4: how many groups carry the error of the difference; few where a handful of
                  huge values does, about a third of the groups where the metric is normal
    z             (difference - absolute margin) / se; z_hall after skew, z_corrected after few groups too
    clock         4 * n_T * n_C / (n_T + n_C) summed over epochs: traces, as if the arms were equal
    k             clock * rho**2
    alpha         error budget of each side
    """

    difference: float
    se: float
    kappa: float
    n_eff: float
    spread: float
    z: float
    z_hall: float
    z_corrected: float
    clock: float
    k: float
    alpha: float

    @property
    def limit(self) -> float:
        """What the evidence must reach: ln(1 / alpha)."""
        return -math.log(self.alpha)

    @property
    def log_e_harm(self) -> float:
        """Evidence against "not worse than the margin"; breach when >= limit."""
        return log_e_one_sided(self.z_corrected, self.k)

    @property
    def log_e_safe(self) -> float:
        """Evidence against "worse than the margin"; safe when >= limit."""
        return log_e_one_sided(-self.z_corrected, self.k)

    @property
    def breaches(self) -> bool:
        """Whether the harm is shown. Evidence of a difference below the margin is below 0, so it is not computed."""
        return self.z_corrected > 0 and self.log_e_harm >= self.limit

    @property
    def is_safe(self) -> bool:
        """Whether safety is shown."""
        return self.z_corrected < 0 and self.log_e_safe >= self.limit

    def limits(self) -> tuple[float, float]:
        """Lower and upper limit of the difference, each of which holds at all looks with error alpha.

        The exact dual of the two evidences: the lower limit passes the margin in the moment log_e_harm passes limit,
        the upper when log_e_safe does. Together they are an interval of error 2 * alpha. Infinite where a few
        groups carry nearly all the traffic, which the floors exclude.
        """
        reach = critical_z_one_sided(self.k, self.alpha)
        below, above = (self.se * undo_skew(undo_few_groups(z, self.n_eff), self.kappa) for z in (reach, -reach))
        return self.difference - below, self.difference - above


def close_epoch(closed: ClosedEpochs, epoch: EpochTotals, margin: Margin | Margins) -> ClosedEpochs:
    """Fold one finished epoch into the closed ones. A cell or arm without two occupied groups adds nothing.

    Shapes must agree: (cells, groups) of the epoch are those of the closed state.
    """
    if closed.influence.shape != epoch.control.n.shape:
        raise StatisticsInputError(
            f"the epoch has shape {epoch.control.n.shape}, the closed epochs {closed.influence.shape}; "
            "cells and groups are fixed for an experiment"
        )
    n, sum_x = (np.stack(arms) for arms in zip(*((arm.n, arm.sum_x) for arm in epoch.arms), strict=True))
    rows, occupied = n.sum(axis=2), (n > 0).sum(axis=2)
    n_c, n_t = rows.astype(np.float64)
    h = np.where((occupied >= 2).all(axis=0), n_t * n_c / np.maximum(n_t + n_c, 1), 0.0)
    (mean_c, mean_t), (influence_c, influence_t) = mean_and_influence(n, sum_x, rows, occupied)
    (sign, scale), by_group = margin.by_group, h[:, np.newaxis]
    control_mass, treatment_mass = by_group * n / np.maximum(rows, 1)[:, :, np.newaxis]
    return ClosedEpochs(
        weight=closed.weight + h,
        weighted_difference=closed.weighted_difference + h * (margin.sign * (mean_t - margin.control_scale * mean_c)),
        influence=closed.influence + by_group * (sign * (influence_t - scale * influence_c)),
        control_mass=closed.control_mass + control_mass,
        treatment_mass=closed.treatment_mass + treatment_mass,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Contrasts:
    """The contrasts of many cells at one look, each worked out when it is asked for: found[cell].

    combined  all epochs, the open one folded in
    alphas    error budget of each cell's stream; rhos: scale of each one's mixture
    known     what was asked for before, by cell
    """

    combined: ClosedEpochs
    margin: Margin | Margins
    alphas: Sequence[float]
    rhos: Sequence[float]
    known: dict[int, Contrast | NoContrast] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.alphas)

    def __iter__(self) -> Iterator[Contrast | NoContrast]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, cell: int) -> Contrast | NoContrast:
        if cell not in self.known:
            self.known[cell] = self._contrast(cell)
        return self.known[cell]

    def _contrast(self, cell: int) -> Contrast | NoContrast:
        if not self.combined.weight[cell]:
            return NoContrast.NO_COMPARABLE_EPOCH
        return _judge(_moments(self.combined, cell), self.margin.absolute_of(cell), self.alphas[cell], self.rhos[cell])


def contrasts(
    closed: ClosedEpochs,
    open_epoch: EpochTotals,
    *,
    margin: Margin | Margins,
    alphas: Sequence[float],
    tstar: float,
) -> Contrasts:
    """The contrast of every cell over all closed epochs and the open one.

    margin  the one the closed epochs were folded with, of all cells or one for each
    alphas  error budget of each cell's stream after weighting, in (0, 0.5), one per cell
    tstar   traces at which the bound is tightest, > 0; fixed for an experiment (5000)

    Both sides are tested at alpha each. The floors (stats.floors) are the caller's to apply.

    >>> pairs = np.array([[[5, 50], [5, 61], [5, 54]]]), np.array([[[5, 70], [5, 82], [5, 69]]])
    >>> epoch = EpochTotals(*(ArmTotals(n=p[:, :, 0], sum_x=p[:, :, 1]) for p in pairs))
    >>> [c] = contrasts(ClosedEpochs.none(1, 3), epoch, margin=Margin(), alphas=[0.05], tstar=5000)
    >>> c.clock, round(c.difference, 6), round(c.se, 6)
    (30.0, 3.733333, 0.371184)
    """
    combined = close_epoch(closed, open_epoch, margin)
    cells = combined.weight.shape[0]
    if len(alphas) != cells:
        raise StatisticsInputError(f"{len(alphas)} alphas were given for {cells} cells; one is needed for each")
    return Contrasts(combined, margin, alphas, _rhos(tuple(alphas), tstar))


@lru_cache(maxsize=1_024)
def _rhos(alphas: tuple[float, ...], tstar: float) -> tuple[float, ...]:
    """Scale of each stream's mixture; the same streams are asked for at every look."""
    return tuple(tuning_rho(alpha, tstar, sided="one") for alpha in alphas)


def mean_and_influence(
    n: IntArray, sum_x: IntArray, rows: IntArray, occupied: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Mean (arms, cells) and jackknife influence (arms, cells, groups). Denominators of cells that weigh nothing
    become 1."""
    occupied = np.maximum(occupied, 1)
    total, divisor = sum_x.sum(axis=2), np.maximum(rows, 1)
    # The mean's whole part is taken off in exact integers first, so that a constant metric varies by exactly 0.
    whole = total // divisor
    rest = (total - whole * rows) / divisor
    deviation = (sum_x - whole[:, :, np.newaxis] * n) - rest[:, :, np.newaxis] * n
    others = np.maximum(rows[:, :, np.newaxis] - n, 1)
    shrink = np.sqrt((occupied - 1) / occupied)[:, :, np.newaxis]
    return whole + rest, shrink * deviation / others


@dataclass(frozen=True, slots=True)
class _Moments:
    """What a verdict on one cell needs of its groups: sum h, sum h * difference, and sums of powers over groups."""

    weight: float
    weighted_difference: float
    square: float
    cube: float
    fourth: float
    control_mass_square: float
    treatment_mass_square: float


def _moments(state: ClosedEpochs, cell: int) -> _Moments:
    influence, control, treatment = state.influence[cell], state.control_mass[cell], state.treatment_mass[cell]
    square = influence * influence
    return _Moments(
        float(state.weight[cell]),
        float(state.weighted_difference[cell]),
        *(
            math.fsum(x.tolist())
            for x in (square, square * influence, square * square, control * control, treatment * treatment)
        ),
    )


def _judge(moments: _Moments, absolute: float, alpha: float, rho: float) -> Contrast | NoContrast:
    if moments.square == 0:
        return NoContrast.NO_VARIATION
    weight, root = moments.weight, math.sqrt(moments.square)
    difference, se = moments.weighted_difference / weight, root / weight
    kappa = moments.cube / (moments.square * root)
    # (sum W)**2 / sum W**2, where sum W = sum h: the number of groups for even traffic, 1 if one carries it all.
    n_eff = weight * weight / max(moments.control_mass_square, moments.treatment_mass_square)
    z = (difference - absolute) / se
    z_hall = correct_skew(z, kappa)
    z_corrected = correct_few_groups(z_hall, n_eff)
    clock = 4 * weight
    k = clock * rho * rho
    return Contrast(
        difference=difference,
        se=se,
        kappa=kappa,
        n_eff=n_eff,
        spread=moments.square * moments.square / moments.fourth,
        z=z,
        z_hall=z_hall,
        z_corrected=z_corrected,
        clock=clock,
        k=k,
        alpha=alpha,
    )
