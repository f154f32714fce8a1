from __future__ import annotations

import pytest
from scipy.stats import beta, binom, binomtest

from stoploss.stats.errors import StatisticsInputError
from stoploss.stats.exact_binomial import beta_quantile, interval


@pytest.mark.parametrize("trials", [1, 200, 2_000])
def test_the_interval_is_that_of_clopper_and_pearson(trials: int) -> None:
    for successes in {0, 1, trials // 70, trials - 1, trials}:
        expected = binomtest(successes, trials).proportion_ci(0.99, method="exact")
        assert interval(successes, trials, 0.01) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_each_limit_is_wrong_exactly_as_often_as_said() -> None:
    lower, upper = interval(7, 400, 0.02)
    assert binom.sf(6, 400, lower) == pytest.approx(0.01, rel=1e-9)
    assert binom.cdf(7, 400, upper) == pytest.approx(0.01, rel=1e-9)


def test_without_trials_every_rate_is_possible() -> None:
    assert interval(0, 0, 0.05) == (0.0, 1.0)


def test_quantiles_far_in_the_tail_are_found() -> None:
    assert beta_quantile(1e-12, 1, 50_000) == pytest.approx(float(beta.ppf(1e-12, 1, 50_000)), rel=1e-9)


@pytest.mark.parametrize(
    ("args", "message"),
    [((3, 2, 0.1), "successes is 3"), ((0, -1, 0.1), "trials is -1"), ((0, 1, 1.0), r"alpha is 1\.0")],
)
def test_counts_that_cannot_be_are_refused(args: tuple[int, int, float], message: str) -> None:
    with pytest.raises(StatisticsInputError, match=message):
        interval(*args)
