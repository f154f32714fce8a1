"""Whether a treatment's effect is another one where units are in another variant of a second experiment.

Two experiments share their traffic. In each variant c of the second, the first has an effect D_c = mean_T - mean_C;
what is asked for is D_j - D_0, the difference of the differences. Groups of units, exact totals and epochs are those of
stats/contrast.py, epochs of the first experiment, and so is the recipe: per epoch e, with h_c = n_T n_C / (n_T + n_C)

    weight     w = h_0 h_j / (h_0 + h_j); 0 where any of the four arms has fewer than 2 occupied groups
    influence  inf_g of D_j less inf_g of D_0, so a unit that is in both is counted with itself

and over epochs the weighted means with se = sqrt(sum A_g**2) / sum w. Both effects have the same weights: the second
experiment may be ramped meanwhile, and an effect that changes over time is no difference between its variants. The
assignments are taken to be independent within an epoch; what the second one changes in both arms alike cancels.

Source: derived from the contrast, whose corrections and mixture it has (stats/utility.py, `estimate`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from stoploss.stats.contrast import FloatArray, IntArray, mean_and_influence
from stoploss.stats.utility import Term

PARTS = 4
"""Arms whose means are compared: control and treatment, in either variant of the second experiment."""


@dataclass(frozen=True, slots=True, eq=False)
class ClosedPairs:
    """All closed epochs, in a size that does not grow with their number. Pair j compares cell j + 1 with cell 0.

    weight        sum of w, (pairs,)
    first, other  sum of w D_0 and of w D_j, (pairs,), in the metric's integer unit
    influence     A_g = sum of w inf_g, (pairs, groups)
    mass          W_g = sum of w n_g / n of each of the four arms, (4, pairs, groups)
    """

    weight: FloatArray
    first: FloatArray
    other: FloatArray
    influence: FloatArray
    mass: FloatArray

    @classmethod
    def none(cls, pairs: int, groups: int) -> Self:
        flat = np.zeros(pairs)
        return cls(flat, flat.copy(), flat.copy(), np.zeros((pairs, groups)), np.zeros((PARTS, pairs, groups)))

    def grown(self, pairs: int) -> ClosedPairs:
        """With room for so many pairs; those that come now were in none of the epochs."""
        more = pairs - self.weight.size
        if more <= 0:
            return self
        flat, by_group = (0, more), ((0, more), (0, 0))
        return ClosedPairs(
            np.pad(self.weight, flat),
            np.pad(self.first, flat),
            np.pad(self.other, flat),
            np.pad(self.influence, by_group),
            np.pad(self.mass, ((0, 0), *by_group)),
        )


@dataclass(frozen=True, slots=True)
class Interaction:
    """The effect in cell 0, that in the other cell, and their difference as a term to be judged.

    spread  (sum A**2)**2 / sum A**4: how many groups carry the error of the difference; 0 where nothing varies
    """

    first: float
    other: float
    term: Term
    spread: float


def close_epoch(closed: ClosedPairs, n: IntArray, sum_x: IntArray) -> ClosedPairs:
    """Folds one finished epoch of the first experiment into the closed ones.

    n, sum_x  traces and sum of the metric, int64 of shape (2, cells, groups): control and treatment
    """
    closed = closed.grown(n.shape[1] - 1)
    rows, occupied = n.sum(axis=2), (n > 0).sum(axis=2)
    n_c, n_t = rows.astype(np.float64)
    h = np.where((occupied >= 2).all(axis=0), n_t * n_c / np.maximum(n_t + n_c, 1), 0.0)
    (mean_c, mean_t), (influence_c, influence_t) = mean_and_influence(n, sum_x, rows, occupied)
    effect, influence = mean_t - mean_c, influence_t - influence_c
    w = np.where((h[0] > 0) & (h[1:] > 0), h[0] * h[1:] / np.maximum(h[0] + h[1:], 1e-300), 0.0)
    shares = n / np.maximum(rows, 1)[:, :, np.newaxis]
    first = np.broadcast_to(shares[:, :1], shares[:, 1:].shape)
    by_group = w[:, np.newaxis]
    return ClosedPairs(
        weight=closed.weight + w,
        first=closed.first + w * effect[0],
        other=closed.other + w * effect[1:],
        influence=closed.influence + by_group * (influence[1:] - influence[0]),
        mass=closed.mass + by_group * np.concatenate([first, shares[:, 1:]]),
    )


def interaction(combined: ClosedPairs, pair: int) -> Interaction | None:
    """What is known of a pair from all epochs, the open one folded in; None while no epoch has all four arms.

    The clock is 16 w: traces, as if the four arms were equal.

    >>> n = np.full((2, 2, 4), 5)
    >>> sums = np.array([[[50, 52, 48, 50], [50, 51, 49, 50]], [[60, 62, 58, 60], [90, 93, 87, 90]]])
    >>> found = interaction(close_epoch(ClosedPairs.none(1, 4), n, sums), 0)
    >>> found.first, found.other, found.term.difference, found.term.clock
    (2.0, 8.0, 6.0, 80.0)
    """
    weight = float(combined.weight[pair])
    if weight == 0:
        return None
    influence = combined.influence[pair]
    first, other = float(combined.first[pair]) / weight, float(combined.other[pair]) / weight
    square = math.fsum((influence**2).tolist())
    masses = [math.fsum((part**2).tolist()) for part in combined.mass[:, pair]]
    return Interaction(
        first=first,
        other=other,
        term=Term(other - first, influence / weight, 16 * weight, weight * weight / max(masses)),
        spread=square * square / math.fsum((influence**4).tolist()) if square else 0.0,
    )
