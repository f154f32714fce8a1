from __future__ import annotations

import math

import pytest

from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.spec.file import parse_experiment
from tests.timelines import SPEC, spec


def plan(metric: str, direction: str, margin: str, more: str = "", text: str = SPEC) -> GuardrailPlan:
    rule = f"{{metric: {metric}, direction: {direction}, margin: {{{margin}}}{more}}}"
    tail = f"{{metric: {metric}, direction: lower, margin: {{relative: 0.7}}, transform: exceedance}}"
    rule = f"guardrails: [{rule}{f', {tail}' if 'log' in more else ''}]"
    experiment = parse_experiment(spec(rule, text))
    return GuardrailPlan.of(experiment, 0, experiment.spec.guardrails[0])


@pytest.mark.parametrize(
    ("direction", "worse", "shift"),
    [("lower", "higher", math.log(1.10)), ("higher", "lower", -math.log(0.90))],
)
def test_a_relative_margin_on_a_logarithm_is_the_shift_that_it_makes_there(
    direction: str, worse: str, shift: float
) -> None:
    """A tenth more is ln 1.1 up; a tenth less is ln 0.9 down. Harm is positive."""
    margin = plan("cached_tokens", direction, "relative: 0.10", ", transform: log").margin
    assert margin.worse == worse
    assert margin.absolute == pytest.approx(shift * 1_000_000, rel=1e-12)
    assert margin.relative == 0.0


def test_an_absolute_margin_is_in_integers_of_the_column() -> None:
    assert plan("latency_ms", "lower", "absolute: 50").margin.absolute == 50_000
    assert plan("resolved", "higher", "absolute: 0.02").margin.absolute == pytest.approx(20_000)


def test_a_relative_margin_stays_a_share() -> None:
    margin = plan("error_rate", "lower", "relative: 0.10").margin
    assert (margin.relative, margin.absolute) == (0.10, 0.0)


@pytest.mark.parametrize(
    ("metric", "direction", "more", "treatment", "effect"),
    [
        ("latency_ms", "lower", "", 1_200_000, 0.2),
        ("cached_tokens", "higher", "", 800, -0.2),
        ("latency_ms", "lower", ", transform: log", math.log(1.2) * 1e6, 0.2),
        ("cached_tokens", "higher", ", transform: log", math.log(0.8) * 1e6, -0.2),
    ],
)
def test_an_effect_is_read_as_treatment_over_control_minus_one(
    metric: str, direction: str, more: str, treatment: float, effect: float
) -> None:
    of = plan(metric, direction, "relative: 0.10", more)
    control = 1_000_000.0 if metric == "latency_ms" else 1_000.0
    if of.log:
        control = 0.0
    difference = of.margin.sign * (treatment - of.margin.control_scale * control)
    assert of.effect(difference, control) == pytest.approx(effect)


def test_an_absolute_effect_is_read_in_the_metrics_unit() -> None:
    of = plan("resolved", "higher", "absolute: 0.02")
    assert of.effect(of.margin.sign * -60_000.0, 700_000.0) == pytest.approx(-0.06)


def test_there_is_no_effect_without_a_control_to_compare_with() -> None:
    of = plan("error_rate", "lower", "relative: 0.10")
    assert of.effect(0.5, 0.0) is None
    assert of.effect(0.5, None) is None
    assert of.effect(math.inf, 1.0) is None


def test_an_arm_is_shown_in_the_metrics_unit_and_a_logarithm_as_its_geometric_mean() -> None:
    assert plan("latency_ms", "lower", "absolute: 5").arm_value(1_500_000) == 1_500
    log = plan("latency_ms", "lower", "relative: 0.1", ", transform: log")
    assert log.arm_value(math.log(500) * 1e6) == pytest.approx(500)
    assert log.arm_value(None) is None


def test_traces_that_are_their_own_units_are_known_by_the_assignment() -> None:
    text = SPEC.replace("randomisationUnit: user", "randomisationUnit: trace")
    assert plan("error_rate", "lower", "relative: 0.1", text=text).per_trace
    assert not plan("error_rate", "lower", "relative: 0.1").per_trace
