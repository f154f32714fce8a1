from __future__ import annotations

import math

import numpy as np
import pytest

from stoploss.intake.quantise import quantise, unit_of
from stoploss.metrics import LARGEST, METRICS, MISSING, Transform, score


def one(value: float, name: str, transform: Transform = "none", present: bool = True) -> int:
    metric = METRICS.get(name) or score(name)
    return int(quantise(np.array([value]), np.array([present]), metric, transform)[0])


@pytest.mark.parametrize(
    ("name", "value", "integer"),
    [
        ("latency_ms", 12.3456, 12_346),
        ("cost_usd", 0.002, 2_000_000),
        ("output_tokens", 7.0, 7),
        ("good", -0.5, -500_000),
    ],
)
def test_a_value_is_a_whole_number_of_its_unit(name: str, value: float, integer: int) -> None:
    assert one(value, name) == integer


def test_a_logarithm_is_taken_once_to_six_decimals() -> None:
    assert one(250.0, "latency_ms", "log") == round(math.log(250.0) * 1_000_000)


@pytest.mark.parametrize("transform", ["none", "log"])
def test_no_value_is_missing_and_never_zero(transform: Transform) -> None:
    assert one(3.0, "latency_ms", transform, present=False) == MISSING


def test_zero_has_no_logarithm() -> None:
    assert one(0.0, "latency_ms", "log") == MISSING
    assert one(0.0, "latency_ms") == 0


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_the_largest_value_of_every_metric_stays_exact(metric: object) -> None:
    name = metric.name  # type: ignore[attr-defined]
    assert one(LARGEST / METRICS[name].scale, name) == LARGEST


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("latency_ms", "us"),
        ("cost_usd", "nano-usd"),
        ("error_rate", "0 or 1"),
        ("steps", "steps"),
        ("good", "1e-6 points"),
    ],
)
def test_the_unit_of_a_column_says_what_its_integers_count(name: str, unit: str) -> None:
    assert unit_of(METRICS.get(name) or score(name), "none") == unit


def test_the_unit_of_a_logarithm_names_what_it_is_of() -> None:
    assert unit_of(METRICS["cost_usd"], "log") == "1e-6 ln(USD)"
