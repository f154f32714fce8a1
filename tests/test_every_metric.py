"""What every line of METRICS promises to the core; listing a metric is testing it here."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from stoploss.metrics import LARGEST, LOG_SCALE, METRICS, MISSING, Metric, Transform, column_name, scale_of
from stoploss.running import Grid, RunningMetrics
from stoploss.segments import Dimension
from tests.timelines import Timeline, actions, spec, traces

METRIC = sorted(METRICS.values(), key=lambda metric: metric.name)
UNIT_OF_NAME = {"_ms": "ms", "_usd": "USD", "_tokens": "tokens"}


def ids(metric: Metric) -> str:
    return metric.name


@pytest.mark.parametrize("metric", METRIC, ids=ids)
def test_a_metric_has_a_unit_a_scale_and_a_direction(metric: Metric) -> None:
    assert METRICS[metric.name] is metric
    assert metric.unit
    assert metric.scale >= 1
    assert metric.better in ("lower", "higher")
    assert ":" not in metric.name
    assert not metric.binary or (metric.scale == 1 and metric.unit.endswith("per trace"))


@pytest.mark.parametrize("metric", METRIC, ids=ids)
def test_a_unit_in_the_name_is_the_unit(metric: Metric) -> None:
    for end, unit in UNIT_OF_NAME.items():
        assert metric.unit == unit or not metric.name.endswith(end)


def test_no_two_metrics_or_transforms_share_a_column() -> None:
    columns = [column_name(metric.name, transform) for metric in METRIC for transform in get_args(Transform)]
    assert len(set(columns)) == len(columns) == len(METRIC) * len(get_args(Transform))


@pytest.mark.parametrize("metric", METRIC, ids=ids)
def test_a_days_worth_of_it_in_one_trace_still_fits(metric: Metric) -> None:
    """A day of latency, a hundred dollars, a billion tokens; and the logarithm of anything."""
    most = {"ms": 86_400_000, "USD": 100, "tokens": 10**9, "steps": 10**6}.get(metric.unit, 1)
    assert most * metric.scale <= LARGEST
    assert 50 * scale_of(metric, "log") <= LARGEST
    assert scale_of(metric, "log") == LOG_SCALE
    assert MISSING < -LARGEST


def guarded(metric: Metric) -> str:
    direction = metric.better
    return f"guardrails: [{{metric: {metric.name}, direction: {direction}, margin: {{relative: 0.10}}, action: pause}}]"


def judged(metric: Metric, control: float, treatment: float) -> Timeline:
    timeline = Timeline(spec(guarded(metric))).started()
    for second in range(8):
        timeline.seconds(1)
        some = traces(1_000, seed=second, users=50_000)
        rng = np.random.default_rng(second)
        level = np.where(some.variant == 1, treatment, control)
        values = (
            rng.random(some.rows) < level if metric.binary else np.rint(level * rng.uniform(5_000, 15_000, some.rows))
        )
        some.metrics = {metric.name: values.astype(np.int64)}
        timeline.traces(some)
    timeline.seconds(1)
    return timeline


@pytest.mark.parametrize("metric", METRIC, ids=ids)
def test_a_guardrail_on_it_parses_and_finds_harm_and_spares_what_is_better(metric: Metric) -> None:
    low, high = (0.05, 0.30) if metric.binary else (1.0, 2.0)
    worse = (low, high) if metric.better == "lower" else (high, low)
    harmed, improved = judged(metric, *worse), judged(metric, *reversed(worse))
    assert actions(harmed) == ["set_exposure", "pause"]
    assert metric.name in harmed.breaches[0].sentence
    assert [finding.verdict for finding in improved.findings] == ["safe"]


@pytest.mark.parametrize("metric", METRIC, ids=ids)
def test_it_is_measured_in_its_own_unit(metric: Metric) -> None:
    measured, dimension = RunningMetrics(), Dimension("", {"": 0})
    ones = np.full(10, metric.scale, np.int64)
    measured.fold(metric.name, not metric.binary, Grid(ones * 0, {"": ones * 0}), ones)
    [arm] = measured.arms(("current", "small"), {"": dimension}, {metric.name: metric.scale})
    assert (arm.n, arm.mean, arm.standard_deviation) == (10, 1.0, 0.0)
    assert (arm.p50 is None) == metric.binary
