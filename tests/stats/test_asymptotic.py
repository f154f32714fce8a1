from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import log_ndtr

from stoploss.stats.asymptotic import (
    critical_z_one_sided,
    halfwidth_one_sided,
    log_e_one_sided,
    log_e_two_sided,
    log_normal_cdf,
    tuning_rho,
)
from stoploss.stats.errors import StatisticsInputError

from .oracle_cases import case, near
from .properties import STEADY

SIDES: list[Literal["one", "two"]] = ["one", "two"]
APPROXIMATE_RHO = [row for row in case("rho_tuning")["rows"] if row["args"]["form"] == "approx"]


def halfwidth(se: float, k: float, alpha: float) -> float:
    """Where the two-sided evidence reaches its limit: what an interval around the estimate excludes."""
    reached = brentq(lambda z: log_e_two_sided(z, k) + math.log(alpha), 0.0, 1e4, xtol=1e-13, rtol=1e-14)
    return se * float(reached)


@pytest.mark.parametrize("row", APPROXIMATE_RHO, ids=lambda row: "{sides}-{alpha}-{t_star}".format(**row["args"]))
def test_rho_is_the_one_of_gbstats(row: dict[str, Any]) -> None:
    args = row["args"]
    assert tuning_rho(args["alpha"], args["t_star"], sided=args["sides"]) == near("rho_tuning", row["expected"])


@pytest.mark.parametrize("sided", SIDES)
def test_the_mixture_evidence_is_the_one_of_confseq(sided: Literal["one", "two"]) -> None:
    name = f"normal_mixture_{sided}_sided"
    inputs, tuned = case(name)["inputs"], case(name)["parameters"]
    rho = tuning_rho(tuned["alpha_opt"], tuned["v_opt"], sided=sided)
    evidence = log_e_one_sided if sided == "one" else log_e_two_sided
    found = [evidence(s / math.sqrt(v), v * rho**2) for s, v in zip(inputs["s"], inputs["v"], strict=True)]
    assert found == near(name, case(name)["expected"]["log_e"])


@pytest.mark.parametrize("sided", SIDES)
def test_the_mixture_bound_is_the_one_of_confseq(sided: Literal["one", "two"]) -> None:
    name = f"normal_mixture_{sided}_sided"
    inputs, tuned = case(name)["inputs"], case(name)["parameters"]
    rho = tuning_rho(tuned["alpha_opt"], tuned["v_opt"], sided=sided)

    def bound(v: float, alpha: float) -> float:
        k = v * rho**2
        z = critical_z_one_sided(k, alpha) if sided == "one" else halfwidth(1.0, k, alpha)
        return math.sqrt(v) * z

    found = [bound(v, alpha) for v in inputs["bound_v"] for alpha in inputs["bound_alpha"]]
    assert found == near(name, case(name)["expected"]["bound_v_major_alpha_minor"])


def mean_and_square_error(arm: dict[str, float]) -> tuple[float, float]:
    mean = arm["sum"] / arm["n"]
    return mean, (arm["sum_squares"] - arm["n"] * mean**2) / (arm["n"] - 1) / arm["n"]


@pytest.mark.parametrize("name", ["asympcs_two_sample_absolute_t1000", "asympcs_two_sample_absolute_t5000"])
def test_the_two_sided_interval_and_p_are_those_of_gbstats(name: str) -> None:
    expected, tuned, arms = (case(name)[key] for key in ("expected", "parameters", "inputs"))
    (mean_a, square_a), (mean_b, square_b) = mean_and_square_error(arms["A"]), mean_and_square_error(arms["B"])
    estimate, se = mean_b - mean_a, math.sqrt(square_a + square_b)
    k = (arms["A"]["n"] + arms["B"]["n"]) * tuning_rho(tuned["alpha"], tuned["t_star"], sided="two") ** 2
    width = halfwidth(se, k, tuned["alpha"])
    assert (estimate - width, estimate + width) == near(name, (expected["ci_lower"], expected["ci_upper"]))
    assert min(1.0, math.exp(-log_e_two_sided(estimate / se, k))) == near(name, expected["p_value"])


def test_the_relative_interval_is_that_of_gbstats() -> None:
    name = "asympcs_two_sample_relative_t1000"
    expected, tuned, arms = (case(name)[key] for key in ("expected", "parameters", "inputs"))
    (mean_a, square_a), (mean_b, square_b) = mean_and_square_error(arms["A"]), mean_and_square_error(arms["B"])
    lift = (mean_b - mean_a) / mean_a
    se = math.sqrt(square_b / mean_a**2 + square_a * mean_b**2 / mean_a**4)
    k = (arms["A"]["n"] + arms["B"]["n"]) * tuning_rho(tuned["alpha"], tuned["t_star"], sided="two") ** 2
    width = halfwidth(se, k, tuned["alpha"])
    assert (lift - width, lift + width) == near(name, (expected["ci_lower"], expected["ci_upper"]))


def test_the_one_sided_limit_is_that_of_gbstats() -> None:
    name = "asympcs_one_sided_greater"
    expected, tuned, arms = (case(name)[key] for key in ("expected", "parameters", "inputs"))
    k = (arms["A"]["n"] + arms["B"]["n"]) * tuning_rho(tuned["alpha"], tuned["t_star"], sided="one") ** 2
    width = halfwidth_one_sided(expected["se"], k, tuned["alpha"])
    assert expected["estimate"] - width == near(name, expected["ci_lower"])


def test_the_interval_of_proportions_is_that_of_gbstats() -> None:
    name = "asympcs_proportions"
    expected, tuned, arms = (case(name)[key] for key in ("expected", "parameters", "inputs"))
    rates = [arm["successes"] / arm["n"] for arm in (arms["A"], arms["B"])]
    sizes = [arms["A"]["n"], arms["B"]["n"]]
    se = math.sqrt(sum(p * (1 - p) / n for p, n in zip(rates, sizes, strict=True)))
    k = sum(sizes) * tuning_rho(tuned["alpha"], tuned["t_star"], sided="two") ** 2
    width, estimate = halfwidth(se, k, tuned["alpha"]), rates[1] - rates[0]
    assert (se, estimate - width, estimate + width) == near(
        name, (expected["absolute_se"], expected["absolute_ci_lower"], expected["absolute_ci_upper"])
    )
    assert math.exp(-log_e_two_sided(estimate / se, k)) == pytest.approx(expected["absolute_p_value"], rel=1e-8)


def test_the_log_of_the_normal_distribution_function_is_full_in_both_tails() -> None:
    for x in np.concatenate([np.linspace(-45, 9, 541), [-1e3, -1e8, -19.999999, -20.000001]]).tolist():
        assert log_normal_cdf(x) == pytest.approx(float(log_ndtr(x)), rel=1e-13, abs=1e-300)


def test_the_evidence_keeps_falling_far_on_the_other_side() -> None:
    falling = [log_e_one_sided(z, 2.0) for z in (-5.0, -20.0, -24.49, -24.5, -100.0, -1e6)]
    assert falling == sorted(falling, reverse=True)
    assert all(math.isfinite(value) for value in falling)


@STEADY
@given(z=st.floats(-30, 30), k=st.floats(1e-3, 1e6))
def test_a_one_sided_mixture_averages_to_the_two_sided_one(z: float, k: float) -> None:
    """The normal mixture is half of either half-normal mixture."""
    up, down, both = log_e_one_sided(z, k), log_e_one_sided(-z, k), log_e_two_sided(z, k)
    assert np.logaddexp(up, down) - math.log(2) == pytest.approx(both, abs=1e-9)


@STEADY
@given(k=st.floats(1e-4, 1e6), alpha=st.floats(1e-9, 0.49))
def test_the_critical_z_is_where_the_evidence_reaches_its_limit(k: float, alpha: float) -> None:
    z = critical_z_one_sided(k, alpha)
    assert log_e_one_sided(z, k) == pytest.approx(-math.log(alpha), rel=1e-9)
    assert z <= halfwidth_one_sided(1.0, k, alpha) * (1 + 1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, -0.1, math.nan, math.inf])
def test_a_one_sided_budget_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(StatisticsInputError, match=f"alpha is {alpha!r}"):
        tuning_rho(alpha, 5000, sided="one")


@pytest.mark.parametrize(("z", "k"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, 0.0), (1.0, math.nan), (1.0, math.inf)])
def test_evidence_of_unusable_numbers_is_refused(z: float, k: float) -> None:
    for evidence in (log_e_one_sided, log_e_two_sided):
        with pytest.raises(StatisticsInputError, match=r"[zk] is (nan|inf|0\.0)"):
            evidence(z, k)


def test_a_negative_standard_error_is_refused() -> None:
    with pytest.raises(StatisticsInputError, match=r"se is -0\.1"):
        halfwidth_one_sided(-0.1, 1.0, 0.05)
