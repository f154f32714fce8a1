"""What is known of a metric before the start, from requests or stated."""

from __future__ import annotations

import numpy as np
import pytest

from stoploss.metrics import MISSING
from stoploss.planning.baseline import recorded, stated
from tests.calibration.traffic import requests


def test_mean_and_deviation_are_those_of_single_requests() -> None:
    some = requests(20_000, sigma=0.5)
    found = recorded(some, some.metrics["latency_ms"])
    assert found is not None
    assert found.mean == pytest.approx(500_000 * np.exp(0.125), rel=0.02)
    assert found.deviation / found.mean == pytest.approx(np.sqrt(np.expm1(0.25)), rel=0.05)
    assert found.counted == pytest.approx(1.0, abs=0.25)


def test_requests_of_one_user_that_are_alike_count_for_less_the_more_there_are() -> None:
    alike = requests(8_000, users=2_000, icc=0.5)
    found = recorded(alike, alike.metrics["latency_ms"])
    apart = recorded(other := requests(8_000, users=2_000), other.metrics["latency_ms"])
    assert found is not None
    assert apart is not None
    assert 1.0 < found.likeness.at(1_000, 1.3) < found.likeness.at(7_000, 3.5) < 4.0
    assert found.likeness.at(80_000, 12.0) > 1.5 * found.likeness.factors[-1]
    assert apart.likeness.at(7_000, 3.5) == pytest.approx(1.0, abs=0.12)


def test_a_heavy_user_counts_ten_times_a_day() -> None:
    some = requests(1_000, users=10)
    found = recorded(some, some.metrics["latency_ms"])
    assert found is not None
    assert found.counted == 0.1


def test_rates_of_first_requests_and_of_units_are_told_apart() -> None:
    some = requests(20_000, users=4_000, error_rate=0.05)
    found = recorded(some, some.metrics["error_rate"])
    assert found is not None
    assert found.first_rate == pytest.approx(0.05, abs=0.01)
    assert found.event_units == pytest.approx(1 - 0.95**5, abs=0.02)


def test_no_value_is_no_baseline() -> None:
    assert recorded(requests(100), None) is None
    assert recorded(requests(100), np.full(100, MISSING)) is None


def test_a_stated_baseline_is_as_alike_as_is_said() -> None:
    found = stated(0.1, None, per_unit=20, icc=0.2)
    assert found.counted == 0.5
    assert found.likeness.at(1e6, 10.0) == pytest.approx(1 + 9 * 0.2)
    assert found.event_units == pytest.approx(1 - 0.9**20)
