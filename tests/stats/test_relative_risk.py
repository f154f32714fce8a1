from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from stoploss.stats.errors import StatisticsInputError
from stoploss.stats.relative_risk import (
    LOG_GROWTHS,
    NO_EVIDENCE,
    accumulate,
    log_e,
    log_increment,
    mantel_haenszel_terms,
    relative_risk,
    safe_log_increment,
)

SIZES = [1, 2, 7]
MARGINS = [0.5, 1.0, 1.1, 3.0]
RATES = [0.001, 0.05, 0.3, 0.9]


def expected_evidence(n_c: int, n_t: int, p_c: float, p_t: float, rr0: float, *, safe: bool) -> float:
    """E[e] of one batch by enumeration of all outcomes."""
    increment = safe_log_increment if safe else log_increment
    return math.fsum(
        float(binom.pmf(x_c, n_c, p_c) * binom.pmf(x_t, n_t, p_t))
        * math.exp(log_e(increment(n_c, x_c, n_t, x_t, rr0=rr0)))
        for x_c in range(n_c + 1)
        for x_t in range(n_t + 1)
    )


@pytest.mark.parametrize("rr0", MARGINS)
def test_evidence_of_harm_is_at_most_one_on_average_without_harm(rr0: float) -> None:
    for n_c, n_t, p_c, part in itertools.product(SIZES, SIZES, RATES, (0.3, 1.0)):
        assert expected_evidence(n_c, n_t, p_c, min(1.0, rr0 * p_c) * part, rr0, safe=False) <= 1 + 1e-12


@pytest.mark.parametrize("rr0", MARGINS)
def test_evidence_of_safety_is_at_most_one_on_average_under_harm(rr0: float) -> None:
    for n_c, n_t, p_t, part in itertools.product(SIZES, SIZES, RATES, (0.3, 1.0)):
        assert expected_evidence(n_c, n_t, min(1.0, p_t / rr0) * part, p_t, rr0, safe=True) <= 1 + 1e-12


def test_evidence_of_harm_exceeds_one_on_average_under_harm() -> None:
    assert expected_evidence(7, 7, 0.05, 0.3, 1.0, safe=False) > 1.05


def test_the_increment_is_the_ratio_of_conditional_likelihoods() -> None:
    n_c, x_c, n_t, x_t, rr0 = 900, 18, 100, 7, 1.25
    for found, growth in zip(log_increment(n_c, x_c, n_t, x_t, rr0=rr0), np.exp(LOG_GROWTHS), strict=True):
        null, other = (n_t * r / (n_t * r + n_c) for r in (rr0, rr0 * growth))
        assert found == pytest.approx(x_t * np.log(other / null) + x_c * np.log((1 - other) / (1 - null)), rel=1e-9)


def test_batches_of_one_split_add_up_to_the_batch_of_all() -> None:
    parts = [(90, 2, 10, 1), (180, 3, 20, 2), (90, 0, 10, 0)]
    running: tuple[float, ...] = NO_EVIDENCE
    for part in parts:
        running = accumulate(running, log_increment(*part, rr0=1.1))
    assert running == pytest.approx(log_increment(360, 5, 40, 3, rr0=1.1), rel=1e-12)


def test_a_flawless_control_does_not_protect_a_bad_treatment() -> None:
    assert log_e(log_increment(500, 0, 500, 16, rr0=1.0)) > -math.log(0.01)


def test_no_batch_is_no_evidence() -> None:
    assert log_e(NO_EVIDENCE) == 0.0


def test_swinging_base_rates_and_splits_do_not_alarm() -> None:
    rng, limit, alarmed = np.random.default_rng(5), -math.log(0.05), 0
    for _ in range(300):
        running: tuple[float, ...] = NO_EVIDENCE
        highest = 0.0
        for second in range(120):
            n_t = 5 if second < 60 else 50
            p = 0.05 * (1 + 0.8 * math.sin(second / 9))
            x_c, x_t = rng.binomial([50, n_t], p).tolist()
            running = accumulate(running, log_increment(50, x_c, n_t, x_t, rr0=1.0))
            highest = max(highest, log_e(running))
        alarmed += highest >= limit
    assert binom.sf(alarmed - 1, 300, 0.05) > 1e-3


def test_the_estimate_is_right_when_base_rate_and_split_move_together() -> None:
    """The pooled ratio of the same counts is 4.2: the later batch has more treatment and more events."""
    batches = [(9_000, 90, 1_000, 20), (1_000, 100, 9_000, 1_800)]
    treatment, control = map(math.fsum, zip(*(mantel_haenszel_terms(*batch) for batch in batches), strict=True))
    assert relative_risk(treatment, control) == pytest.approx(2.0)


def test_without_events_in_control_there_is_no_estimate() -> None:
    assert relative_risk(*mantel_haenszel_terms(100, 0, 100, 5)) is None


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((0, 0, 5, 1), "n_c is 0"),
        ((5, 1, 0, 0), "n_t is 0"),
        ((5, 6, 5, 0), "x_c is 6; it must lie between 0 and n_c, which is 5"),
        ((5, 0, 5, -1), "x_t is -1"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(counts: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(StatisticsInputError, match=message):
        log_increment(*counts, rr0=1.0)


@pytest.mark.parametrize("rr0", [0.0, -1.0, math.nan, math.inf])
def test_a_margin_that_is_no_ratio_is_refused(rr0: float) -> None:
    for increment in (log_increment, safe_log_increment):
        with pytest.raises(StatisticsInputError, match=f"rr0 is {rr0!r}"):
            increment(5, 1, 5, 1, rr0=rr0)


def test_running_logs_of_another_grid_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match="3 running logs were given; the grid has 16"):
        log_e((0.0, 0.0, 0.0))
