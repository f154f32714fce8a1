from __future__ import annotations

import math

import numpy as np
import pytest

from stoploss.stats.contrast import ArmTotals, ClosedEpochs, Contrast, EpochTotals, Margin, contrasts
from stoploss.stats.cuped import Adjustment, PairSums, adjusted, fit
from stoploss.stats.errors import StatisticsInputError

MICRO = 1_000_000


def sums(x: np.ndarray, y: np.ndarray) -> PairSums:
    found = PairSums()
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        found = found.plus(a, b)
    return found


def pairs(seed: int, n: int, correlation: float, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(5, 1, n)
    y = 3 + shift + correlation * (x - 5) + math.sqrt(1 - correlation**2) * rng.normal(0, 1, n)
    return np.rint(x * MICRO).astype(np.int64), np.rint(y * MICRO).astype(np.int64)


def test_the_slope_and_the_gain_are_those_of_least_squares() -> None:
    x, y = pairs(1, 500, 0.7)
    found = fit(sums(x, y))
    covariance = np.cov(x, y)
    assert found.theta == pytest.approx(covariance[0, 1] / covariance[0, 0], rel=1e-9)
    assert found.gain == pytest.approx(1 - np.corrcoef(x, y)[0, 1] ** 2, rel=1e-9)
    assert found.centre == pytest.approx(x.mean(), rel=1e-12)


def test_a_difference_between_arms_does_not_bend_the_slope() -> None:
    arms = [pairs(2, 400, 0.7), pairs(3, 300, 0.7, shift=9.0)]
    within = [np.cov(x, y) * (len(x) - 1) for x, y in arms]
    expected = sum(w[0, 1] for w in within) / sum(w[0, 0] for w in within)
    assert fit(*(sums(x, y) for x, y in arms)).theta == pytest.approx(expected, rel=1e-9)


def test_the_order_of_traces_changes_no_bit() -> None:
    x, y = pairs(4, 300, 0.5)
    order = np.random.default_rng(5).permutation(300)
    assert fit(sums(x, y)) == fit(sums(x[order], y[order]))


def test_values_at_the_bounds_of_intake_are_summed_exactly() -> None:
    top = 2**40 - 1
    assert fit(PairSums().plus(top, -top).plus(top - 1, 1 - top)) == Adjustment(-1.0, top - 0.5, 0.0)


def test_a_covariate_that_does_not_vary_adjusts_nothing() -> None:
    y = np.array([10, 20, 30])
    adjustment = fit(sums(np.array([7, 7, 7]), y))
    assert adjusted(y, np.array([7, 8, 9]), adjustment).tolist() == [10, 20, 30]
    assert adjustment.gain == 1.0


def contrast_of(x_c: np.ndarray, x_t: np.ndarray) -> Contrast:
    """64 groups by turns."""
    arms = []
    for x in (x_c, x_t):
        group = np.arange(x.size) % 64
        total = np.array([x[group == g].sum() for g in range(64)])
        arms.append(ArmTotals(np.bincount(group, minlength=64)[np.newaxis].astype(np.int64), total[np.newaxis]))
    [found] = contrasts(ClosedEpochs.none(1, 64), EpochTotals(*arms), margin=Margin(), alphas=[0.05], tstar=5000)
    assert isinstance(found, Contrast)
    return found


def test_the_contrast_of_adjusted_values_sees_a_harm_that_the_plain_one_does_not() -> None:
    (x_c, y_c), (x_t, y_t) = pairs(6, 2_000, 0.9), pairs(7, 2_000, 0.9, shift=0.06)
    adjustment = fit(sums(*(v[:1_000] for v in pairs(8, 1_000, 0.9))))
    plain, sharp = contrast_of(y_c, y_t), contrast_of(adjusted(y_c, x_c, adjustment), adjusted(y_t, x_t, adjustment))
    assert sharp.se == pytest.approx(plain.se * math.sqrt(adjustment.gain), rel=0.25)
    assert sharp.difference == pytest.approx(0.06 * MICRO, abs=3.5 * sharp.se)
    assert plain.log_e_harm < plain.limit <= sharp.log_e_harm


def test_an_absurd_covariate_does_not_overflow() -> None:
    found = adjusted(np.array([5]), np.array([2**40 - 1]), Adjustment(theta=1e30, centre=0.0, gain=1.0))
    assert found.tolist() == [5 - 2**40]


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ((), "arms is empty"),
        ((PairSums(1, 1, 1, 1, 1, 1),), "n is 1; it must be a whole number of at least 2"),
        ((PairSums(2, 10, 10, 50, 51, 50),), "no values of x and y have these sums"),
    ],
)
def test_too_little_or_impossible_data_is_refused(arms: tuple[PairSums, ...], message: str) -> None:
    with pytest.raises(StatisticsInputError, match=message):
        fit(*arms)


def test_values_without_their_covariates_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match=r"y has shape \(2,\) and x \(1,\)"):
        adjusted(np.array([1, 2]), np.array([1]), Adjustment(1.0, 0.0, 0.5))
