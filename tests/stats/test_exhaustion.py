from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import invgauss

from stoploss.stats.errors import StatisticsInputError
from stoploss.stats.exhaustion import Exhaustion


def reference(e: Exhaustion) -> invgauss:
    """scipy's inverse Gaussian with mean R / m and shape R**2 / v."""
    shape = e.remaining**2 / e.variance_per_h
    return invgauss(mu=e.mean_h / shape, scale=shape)


@pytest.mark.parametrize(
    "e", [Exhaustion(10.0, 1.0, 4.0), Exhaustion(1_800.0, 65.0, 900.0), Exhaustion(3.0, 0.5, 40.0)]
)
def test_the_distribution_is_the_inverse_gaussian(e: Exhaustion) -> None:
    for share in (0.3, 0.8, 1.0, 1.3, 3.0):
        hours = share * e.mean_h
        assert e.log_cdf(hours) == pytest.approx(float(reference(e).logcdf(hours)), rel=1e-9, abs=1e-12)
    for probability in (0.001, 0.1, 0.5, 0.9, 0.999):
        assert e.quantile_h(probability) == pytest.approx(float(reference(e).ppf(probability)), rel=1e-8)


def test_a_huge_budget_spent_steadily_does_not_overflow() -> None:
    """exp(2 m R / v) alone would be exp(2e12)."""
    e = Exhaustion(remaining=1e6, rate_per_h=1e3, variance_per_h=1e-3)
    assert e.quantile_h(0.5) == pytest.approx(1_000.0, rel=1e-9)
    assert e.log_cdf(500.0) == pytest.approx(-((500e3) ** 2) / (2 * 500 * 1e-3), rel=1e-6)
    assert e.log_cdf(2_000.0) == 0.0


def test_the_window_of_traces_gives_rate_and_variance() -> None:
    assert Exhaustion.of_window(500.0, spent=12.0, sum_of_squares=30.0, window_h=6.0) == Exhaustion(500.0, 2.0, 5.0)


@pytest.mark.slow
def test_random_traces_of_lognormal_cost_exhaust_a_budget_when_predicted() -> None:
    """Poisson arrivals, 100 an hour, cost exp(N(0, 1)): 2,000 budgets of 4,000, against the 10, 50 and 90 % points."""
    rng, rate, budget, runs = np.random.default_rng(4), 100.0, 4_000.0, 2_000
    e = Exhaustion(budget, rate * math.exp(0.5), rate * math.exp(2.0))
    hours = []
    for _ in range(runs):
        spent = np.cumsum(np.exp(rng.normal(0, 1, 5_000)))
        hours.append(rng.exponential(1 / rate, 5_000).cumsum()[np.searchsorted(spent, budget)])
    for probability in (0.1, 0.5, 0.9):
        assert np.mean(np.array(hours) <= e.quantile_h(probability)) == pytest.approx(probability, abs=0.035)


@pytest.mark.parametrize("broken", [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, math.nan), (math.inf, 1.0, 1.0)])
def test_a_budget_that_is_gone_or_never_spent_is_refused(broken: tuple[float, float, float]) -> None:
    with pytest.raises(StatisticsInputError):
        Exhaustion(*broken)


def test_times_and_probabilities_that_cannot_be_are_refused() -> None:
    e = Exhaustion(1.0, 1.0, 1.0)
    with pytest.raises(StatisticsInputError, match=r"hours is 0\.0"):
        e.log_cdf(0.0)
    with pytest.raises(StatisticsInputError, match="probability is 1"):
        e.quantile_h(1)
