from __future__ import annotations

import math
from typing import Any

import pytest
from scipy.integrate import quad
from scipy.stats import beta, binom

from stoploss.stats.errors import StatisticsInputError
from stoploss.stats.one_rate import log_e_above, log_e_not_equal, rate_limits

from .oracle_cases import case, near

ROWS = case("bernoulli_cs_robbins")["rows"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "{prior_a_equals_b}-{successes}-{trials}".format(**row["args"]))
def test_the_limits_are_those_of_the_published_package(row: dict[str, Any]) -> None:
    args = row["args"]
    found = rate_limits(args["successes"], args["trials"], args["alpha"], prior=args["prior_a_equals_b"])
    assert list(found) == near("bernoulli_cs_robbins", row["expected"])


def test_the_one_sided_evidence_is_the_integral_over_rates_above_the_limit() -> None:
    for successes, trials, limit in ((8, 200, 0.01), (2, 150, 0.03), (0, 40, 0.02)):

        def ratio(p: float, s: int = successes, n: int = trials, p0: float = limit) -> float:
            return float(beta.pdf(p, 0.5, 0.5)) * (p / p0) ** s * ((1 - p) / (1 - p0)) ** (n - s)

        integral = quad(ratio, limit, 1, epsabs=0, epsrel=1e-10, limit=400)[0] / beta.sf(limit, 0.5, 0.5)
        assert math.exp(log_e_above(successes, trials, limit)) == pytest.approx(integral, rel=1e-6)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.4])
def test_evidence_is_at_most_one_on_average_up_to_the_limit(rate: float) -> None:
    limit = 0.1
    average = math.fsum(float(binom.pmf(s, 25, rate)) * math.exp(log_e_above(s, 25, limit)) for s in range(26))
    assert (average <= 1 + 1e-12) == (rate <= limit)


def test_a_rate_far_below_the_limit_is_no_evidence_and_no_overflow() -> None:
    assert log_e_above(10, 1_000_000, 0.5) == -700.0


def test_without_trials_every_rate_is_possible() -> None:
    assert rate_limits(0, 0, 0.05) == (0.0, 1.0)


def test_events_all_the_time_leave_the_upper_end_open() -> None:
    lower, upper = rate_limits(50, 50, 0.05)
    assert upper == 1.0
    assert log_e_not_equal(50, 50, lower) == pytest.approx(-math.log(0.05))


@pytest.mark.parametrize(
    ("successes", "trials", "rate", "message"),
    [
        (3, 2, 0.1, "successes is 3"),
        (0, -1, 0.1, "trials is -1"),
        (0, 1, 0.0, "rate is 0.0"),
        (0, 1, math.nan, "rate is nan"),
    ],
)
def test_counts_and_rates_that_cannot_be_are_refused(successes: int, trials: int, rate: float, message: str) -> None:
    for evidence in (log_e_not_equal, log_e_above):
        with pytest.raises(StatisticsInputError, match=message):
            evidence(successes, trials, rate)


def test_an_impossible_budget_is_refused() -> None:
    with pytest.raises(StatisticsInputError, match=r"alpha is 1\.0"):
        rate_limits(1, 10, 1.0)
