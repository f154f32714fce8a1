"""Stopping times without simulation, held against simulated ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stoploss.planning.passage import passed_by, time_to_pass
from stoploss.stats.asymptotic import critical_z_one_sided, tuning_rho

RHO = tuning_rho(0.01, 5_000, sided="one")


def mixture_bound(n: float) -> float:
    return critical_z_one_sided(n * RHO * RHO, 0.01) * math.sqrt(n)


@pytest.mark.parametrize("drift", [0.12, 0.06])
def test_quantiles_are_within_six_per_cent_of_simulated_ones(drift: float) -> None:
    step, runs = 10, 2_000
    n = np.arange(step, 10_001, step)
    noise = np.random.default_rng(1).standard_normal((runs, n.size)) * math.sqrt(step)
    passed = np.cumsum(noise + drift * step, axis=1) >= np.array([mixture_bound(x) for x in n.tolist()])
    first = np.sort(np.where(passed.any(axis=1), n[passed.argmax(axis=1)], np.inf))
    for share in (0.5, 0.8):
        predicted = time_to_pass(share, drift, mixture_bound, least=1, most=1e8)
        assert predicted == pytest.approx(first[int(share * runs)], rel=0.06)


def test_a_straight_bound_is_exact() -> None:
    """Siegmund 1985, 3.15: P(a Brownian motion with drift 0.5 reaches 3 by 4), by its closed form."""
    normal = lambda x: 0.5 * math.erfc(-x / math.sqrt(2))  # noqa: E731
    expected = normal(-0.5) + math.exp(3.0) * normal(-2.5)
    assert passed_by(4.0, 0.5, lambda t: 3.0) == pytest.approx(expected, rel=1e-9)


def test_without_drift_a_treatment_is_rarely_stopped_however_long_it_runs() -> None:
    """The approximation must not promise more stops than the bound's own error."""
    assert passed_by(1e7, 0.0, mixture_bound) <= 0.01
    assert time_to_pass(0.5, 0.0, mixture_bound, least=1, most=1e8) is None


def test_nothing_passes_a_bound_that_cannot_be_reached_yet() -> None:
    assert passed_by(5.0, 1.0, lambda t: math.inf if t < 10 else 8.0) == 0.0
