from __future__ import annotations

import pytest

from stoploss.errors import InvalidExperiment
from stoploss.policy.file import parse_policy
from stoploss.spec.checks import not_enforced_yet
from stoploss.spec.file import parse_experiment
from tests.governance.institution import LENIENT, edited
from tests.timelines import SPEC, spec

SERVED = SPEC.replace("{name: small,", "{name: small, model: small-1,")
GUARDRAIL = "guardrails: [{metric: METRIC, direction: lower, margin: {relative: 0.1}, transform: TRANSFORM}]"


def guardrail(metric: str, transform: str = "none") -> str:
    return GUARDRAIL.replace("METRIC", metric).replace("TRANSFORM", transform)


# One line each: what is wrong, and how its violation reads.
FAULTS = {
    "an order of tools that nobody has": (
        spec("path: {order: [search, pay]}"),
        "line 15, spec.path.order[1]: no variant declares a tool 'pay'; declared are search",
    ),
    "an approval of a tool that nobody has": (
        spec("path: {approvals: [pay]}"),
        "line 15, spec.path.approvals[0]: no variant declares a tool 'pay'; declared are search",
    ),
    "a tool twice in an order": (
        spec("path: {order: [search, search]}"),
        "line 15, spec.path.order[1]: 'search' is listed twice; keep one",
    ),
    "a handoff to nobody": (
        spec('path: {handoffs: [[triage, ""]]}'),
        "line 15, spec.path.handoffs[0]: ['triage', ''] names no two agents; write [from, to]",
    ),
    "a gate without what it watches": (
        spec("gates: [missing_approval]"),
        "line 15, spec.gates[0]: 'missing_approval' watches spec.path.approvals, which is not declared, so it could",
    ),
    "a limit below nothing": (spec("limits: {steps: -1}"), "line 15, spec.limits.steps: "),
    "an impact that is not known": (spec("userImpact: some"), "line 15, spec.userImpact: "),
    "a share that is none": (spec("health: {declared: {max: 1.0}}"), "line 15, spec.health.declared.max: "),
    "a logarithm of what is mostly 0": (
        spec(guardrail("retries", "log")),
        "line 15, spec.guardrails[0].transform: 'retries' is 0 in most traces and they have no logarithm",
    ),
    "a guardrail on what is not compared": (
        spec(guardrail("undeclared_serving_rate"), SERVED),
        "line 15, spec.guardrails[0].metric: traces with 'undeclared_serving_rate' are not compared",
    ),
    "a dimension of the judge's own": (
        spec("segments: [served instead]"),
        "line 15, spec.segments[0]: 'served instead' is kept for health.declared; choose another attribute",
    ),
}


@pytest.mark.parametrize(("text", "violation"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_line_its_field_and_the_way_out(text: str, violation: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        parse_experiment(text)
    assert any(str(found).startswith(violation) for found in refused.value.violations)


def test_a_gate_that_its_part_switches_on_may_be_listed_for_another_action() -> None:
    experiment = parse_experiment(
        spec("path: {approvals: [search]}\ngates: [{gate: missing_approval, action: rollback}]")
    )
    assert [(choice.gate, choice.action) for choice in experiment.gates[3:]] == [("missing_approval", "rollback")]


def test_serving_is_watched_where_a_variant_declares_it_or_the_spec_asks_for_it() -> None:
    assert parse_experiment(SPEC).serving is None
    served = parse_experiment(SERVED).serving
    assert served is not None
    assert (served.max, served.do) == (0.01, "hold")
    asked = parse_experiment(spec("health: {declared: {max: 0.05, do: pause}}", SERVED)).serving
    assert asked is not None
    assert (asked.max, asked.do) == (0.05, "pause")


def test_what_is_recorded_only_is_said() -> None:
    """P1, for `maskText: false`"""
    asked = "userImpact: material\nhealth: {declared: {max: 0.05}}\nprivacy: {maskText: false}"
    unenforced = not_enforced_yet(parse_experiment(spec(asked)))
    assert [text.split(" ")[0] for text in unenforced] == ["userImpact", "health.declared", "privacy.maskText:"]
    assert not_enforced_yet(parse_experiment(spec("health: {declared: {max: 0.05}}", SERVED))) == []


AT_NIGHT = (
    "riskClasses: {low: {}}",
    'riskClasses: {low: {runsOnlyInside: true, windows: [{days: Mon-Sun, from: "01:00", to: "04:00", timezone: UTC}]}}',
)
HELD_TO = "approvals: {required: 1}\nuserImpact: material\nsafeShare: 0.01"
CLIMBING = ("stages: [0.5]", "stages: [0.1, 0.5], autoAdvance: true")


def test_what_a_policy_enforces_is_not_said_to_be_recorded_only() -> None:
    experiment = parse_experiment(edited(CLIMBING, text=spec(HELD_TO)))
    without = [text.split(" ")[0] for text in not_enforced_yet(experiment)]
    assert without == ["ramp.autoAdvance", "safeShare", "approvals", "userImpact"]
    in_daylight = not_enforced_yet(experiment, parse_policy(LENIENT))
    assert [text.split(" ")[0] for text in in_daylight] == ["ramp.autoAdvance", "safeShare"]
    assert not_enforced_yet(experiment, parse_policy(edited(AT_NIGHT, text=LENIENT))) == []
