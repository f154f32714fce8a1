from __future__ import annotations

import pytest

from stoploss.experiment import ALWAYS_ON_GATES
from stoploss.metrics import METRICS
from stoploss.spec.base import parse_duration
from stoploss.spec.file import parse_experiment
from tests.timelines import SPEC, spec


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("2m", 120), ("24h", 86_400), ("30d", 2_592_000), (7, 7)])
def test_a_duration_is_a_number_of_seconds(text: str | int, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "1.5h", "-2m", "2 m", "2w", "2H", True, None, 1.5])
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="such as 90s, 2m, 24h or 30d"):
        parse_duration(text)


def test_control_and_treatment_are_told_apart_by_name_not_by_place() -> None:
    swapped = parse_experiment(SPEC.replace("control: current", "control: small").replace("to: current", "to: small"))
    assert (swapped.control.name, swapped.treatment.name) == ("small", "current")
    assert [variant.name for variant in swapped.arms] == ["small", "current"]


def test_the_gates_that_are_always_on_come_first_whatever_the_spec_says() -> None:
    bare = parse_experiment(SPEC)
    assert [choice.gate for choice in bare.gates] == list(ALWAYS_ON_GATES)
    assert {choice.action for choice in bare.gates} == {"stop"}
    more = parse_experiment(
        spec("gates: [undeclared_tool, {gate: privilege_escalation, action: rollback}, undeclared_tool]")
    )
    assert [choice.gate for choice in more.gates] == [*ALWAYS_ON_GATES, "undeclared_tool"]
    assert [choice.action for choice in more.gates] == ["stop", "rollback", "stop", "stop"]


def test_a_score_that_is_named_is_known_and_a_metric_is_not_a_score() -> None:
    experiment = parse_experiment(spec("scores: [tone, latency_ms]\nobjective: {quality: {score: helpfulness}}"))
    assert experiment.declared_scores == ("tone", "resolved", "helpfulness")
    assert experiment.metric("tone").unit == "points"
    assert experiment.metric("latency_ms") is METRICS["latency_ms"]


def test_the_scopes_of_a_variant_are_those_of_all_its_tools() -> None:
    text = SPEC.replace(
        "- {name: small, tools: [", "- {name: small, tools: [{name: pay, scopes: [pay.write, pay.read]}, "
    )
    assert parse_experiment(text).treatment.scopes == {"pay.write", "pay.read", "catalog.read"}


def test_a_parsed_spec_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_experiment(SPEC).spec.unit = "prompt"  # type: ignore[misc]
