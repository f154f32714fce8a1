"""Error rates of the whole recipe on seeded traffic: sticky alarms over many looks, floors kept."""

from __future__ import annotations

import math

import pytest
from scipy.stats import binom

from stoploss.stats.asymptotic import log_e_one_sided
from stoploss.stats.contrast import Contrast

from .traffic import alarms, ramp_of_returning_users, sessions


def harm(contrast: Contrast) -> float:
    return contrast.log_e_harm


def safe(contrast: Contrast) -> float:
    return contrast.log_e_safe


def uncorrected_for_units(contrast: Contrast) -> float:
    """Evidence as if ten traces of one unit with correlation 0.3 were independent (design effect 1 + 9 * 0.3)."""
    return log_e_one_sided(contrast.z * math.sqrt(3.7), contrast.k)


def compatible_with(alpha: float, alarmed: int, runs: int) -> bool:
    """Exact binomial: were alpha true, as many alarms or more would come up in over 1 of 1,000 suites."""
    return bool(binom.sf(alarmed - 1, runs, alpha) > 1e-3)


@pytest.mark.parametrize(("share", "looks"), [(0.5, 25), (0.1, 90)])
def test_sessions_without_effect_alarm_no_more_often_than_promised(share: float, looks: int) -> None:
    for alarmed in alarms(sessions(11, 300, looks, share=share), 0.05, harm, safe):
        assert compatible_with(0.05, alarmed, 300)


def test_a_ramp_under_drift_with_returning_users_alarms_no_more_often_than_promised() -> None:
    for alarmed in alarms(ramp_of_returning_users(12, 200, 8), 0.05, harm, safe):
        assert compatible_with(0.05, alarmed, 200)


def test_the_same_sessions_would_expose_an_analysis_per_trace() -> None:
    [alarmed] = alarms(sessions(11, 300, 25, share=0.5), 0.05, uncorrected_for_units)
    assert not compatible_with(0.05, alarmed, 300)


def test_a_harm_of_a_fifth_of_a_standard_deviation_is_found() -> None:
    assert alarms(sessions(13, 60, 40, share=0.5, harm=0.2), 0.01, harm) == [60]


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize(("share", "looks"), [(0.5, 40), (0.1, 100)])
def test_four_thousand_experiments_keep_the_promise(share: float, looks: int, alpha: float) -> None:
    runs = 4_000
    for alarmed in alarms(sessions(14, runs, looks, share=share), alpha, harm, safe):
        assert alarmed / runs <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / runs)
