"""A1, A2, A3, E2, G3: the contract with an agent, and what breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from stoploss.intake.watched import Watched
from tests.intake.records import SPEC, assigned, declaring, gates_of, rows_of, trace

TOOLS = "tools: [{name: search}, {name: compare}, {name: pay, sideEffect: true}]"
AGENT = SPEC.replace("tools: [{name: search, scopes: [catalog.read]}]", TOOLS)


def tool(name: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "tool", "name": name, **fields}


def contract(lines: str) -> dict[str, Watched]:
    return declaring(
        lines, AGENT.replace("  gates: [undeclared_tool, undeclared_mcp_server, shadow_side_effect]\n", "")
    )


def tripped(watched: dict[str, Watched], *steps: dict[str, Any], **fields: Any) -> tuple[list[str], str]:
    """Gates that a trace trips, and what was seen; beside one without steps, which trips none."""
    consenting = [assigned(consent=True)]
    rows = rows_of(
        trace(**{"steps": list(steps), "assignments": consenting, **fields}),
        trace(assignments=consenting),
        watched=watched,
    )
    assert gates_of(rows, 1) == []
    return gates_of(rows), "".join(rows.gate_details)


# ---- A3 --------------------------------------------------------------------------------------------

BYPASSED = contract("gates: [guardrail_bypassed]")


def test_a_guardrail_that_was_bypassed_is_a_gate_by_flag_or_by_its_own_step() -> None:
    assert tripped(BYPASSED, guardrail_bypassed=True) == (
        ["guardrail_bypassed"],
        "the service flagged guardrail_bypassed",
    )
    guardrail = {"kind": "guardrail", "name": "toxicity", "outcome": "Bypassed"}
    assert tripped(BYPASSED, guardrail) == (["guardrail_bypassed"], "guardrail 'toxicity' was bypassed")
    assert tripped(BYPASSED, guardrail | {"outcome": "blocked"}) == ([], "")
    assert tripped(BYPASSED, tool("search", outcome="bypassed")) == ([], "")


# ---- A1 --------------------------------------------------------------------------------------------


def test_a_side_effect_that_is_not_declared_is_a_gate_even_if_it_was_approved() -> None:
    approved = {"side_effect": True, "approval_id": "a-1"}
    watched = contract("")
    assert tripped(watched, tool("pay", **approved)) == ([], "")
    assert tripped(watched, tool("search", **approved)) == (
        ["undeclared_side_effect"],
        "tool 'search' had a side effect that variant 'current' does not declare",
    )
    assert tripped(watched, tool("search", **approved, outcome="denied")) == ([], "")


HANDOFFS = contract("path: {handoffs: [[triage, billing], [billing, human]]}")


def handoff(source: str | None, target: str) -> dict[str, Any]:
    return {"kind": "handoff", "name": target, "agent": source}


def test_a_handoff_is_a_gate_unless_its_pair_is_declared() -> None:
    assert tripped(HANDOFFS, handoff("triage", "billing"), handoff("billing", "human")) == ([], "")
    assert tripped(HANDOFFS, handoff("triage", "human")) == (
        ["undeclared_handoff"],
        "a handoff from 'triage' to 'human' is not declared",
    )


def test_a_handoff_from_an_agent_that_is_not_named_may_go_where_any_may() -> None:
    assert tripped(HANDOFFS, handoff(None, "human")) == ([], "")
    assert tripped(HANDOFFS, handoff(None, "legal"))[1] == "a handoff from 'an agent' to 'legal' is not declared"


def test_an_empty_list_of_handoffs_allows_none() -> None:
    assert tripped(contract("path: {handoffs: []}"), handoff("a", "b"))[0] == ["undeclared_handoff"]


# ---- E2 --------------------------------------------------------------------------------------------

APPROVALS = contract("path: {approvals: [pay]}")
GRANTED = {"kind": "approval", "name": "pay", "outcome": "ok"}


@pytest.mark.parametrize(
    "steps",
    [
        [tool("pay", approval_id="a-1")],
        [GRANTED, tool("pay")],
        [GRANTED | {"outcome": None}, tool("search"), tool("pay")],
        [tool("search")],
        [tool("pay", outcome="denied")],
    ],
)
def test_a_call_with_its_approval_is_fine(steps: list[dict[str, Any]]) -> None:
    assert tripped(APPROVALS, *steps) == ([], "")


@pytest.mark.parametrize(
    "steps",
    [
        [tool("pay")],
        [tool("pay", approval_id="")],
        [tool("pay"), GRANTED],
        [GRANTED | {"outcome": "denied"}, tool("pay")],
        [GRANTED | {"name": "search"}, tool("pay")],
        [tool("pay", approval_id="a-1"), tool("pay")],
    ],
)
def test_a_call_without_is_a_gate(steps: list[dict[str, Any]]) -> None:
    assert tripped(APPROVALS, *steps) == (["missing_approval"], "tool 'pay' was called without an approval")


def test_an_approval_in_another_trace_counts_there_alone() -> None:
    rows = rows_of(trace(steps=[GRANTED]), trace(steps=[tool("pay")]), watched=APPROVALS)
    assert (gates_of(rows, 0), gates_of(rows, 1)) == ([], ["missing_approval"])


ORDER = contract("path: {order: [search, compare, pay]}")


@pytest.mark.parametrize(
    "names",
    ["search compare pay", "search search compare", "compare pay", "pay", "search compare search pay pay search", ""],
)
def test_tools_in_their_order_are_fine_also_where_some_are_left_out_or_called_again(names: str) -> None:
    assert tripped(ORDER, *map(tool, names.split())) == ([], "")


@pytest.mark.parametrize(
    ("names", "seen"),
    [
        ("pay search", "tool 'pay' was called before 'search'"),
        ("search pay compare", "tool 'pay' was called before 'compare'"),
        ("compare search pay", "tool 'compare' was called before 'search'"),
    ],
)
def test_a_tool_before_one_that_is_listed_earlier_breaks_the_order(names: str, seen: str) -> None:
    assert tripped(ORDER, *map(tool, names.split())) == (["broken_order"], seen)


def test_the_order_of_one_trace_says_nothing_of_the_next() -> None:
    rows = rows_of(trace(steps=[tool("pay")]), trace(steps=[tool("search")]), watched=ORDER)
    assert not rows.columns["gates"].any()


# ---- G3 --------------------------------------------------------------------------------------------

CONSENT = contract("userImpact: material")


@pytest.mark.parametrize(
    ("consent", "seen"),
    [(None, "the user had not agreed to take part"), (False, "the user had opted out")],
)
def test_a_treatment_without_consent_is_a_gate_where_users_feel_it(consent: bool | None, seen: str) -> None:
    small = [assigned("small", consent=consent)]
    assert tripped(CONSENT, assignments=small) == (["missing_consent"], seen)
    assert tripped(CONSENT, assignments=[assigned("small", consent=True)]) == ([], "")
    assert tripped(contract(""), assignments=small) == ([], "")


def test_control_and_shadow_runs_need_no_consent() -> None:
    assert tripped(CONSENT, assignments=[assigned(consent=False)]) == ([], "")
    rows = rows_of(trace(role="shadow", assignments=[assigned("small")]), trace(), watched=CONSENT)
    assert rows.columns["offset"].tolist() == [101]


# ---- A2 --------------------------------------------------------------------------------------------

LIMITED = contract("limits: {steps: 4, repeatedCalls: 1, retries: 0, inputTokens: 1000, samples: 2}")
SAMPLE = {"kind": "model", "name": "large"}


def test_a_request_at_its_limits_is_fine() -> None:
    steps = [SAMPLE, SAMPLE, tool("search"), tool("search")]
    assert tripped(LIMITED, *steps, input_tokens=1_000) == ([], "")


@pytest.mark.parametrize(
    ("steps", "fields", "seen"),
    [
        ([tool(f"t{place}") for place in range(5)], {}, "steps 5 of 4 steps allowed"),
        ([tool("search")] * 3, {}, "repeated_calls 2 of 1 calls allowed"),
        ([tool("search", outcome="error"), tool("search")], {}, "retries 1 of 0 retries allowed"),
        ([SAMPLE] * 3, {}, "samples 3 of 2 samples allowed"),
        ([], {"input_tokens": 1_001}, "input_tokens 1,001 of 1,000 tokens allowed"),
    ],
)
def test_one_more_runs_away(steps: list[dict[str, Any]], fields: dict[str, Any], seen: str) -> None:
    assert tripped(LIMITED, *steps, **fields) == (["runaway"], seen)


def test_a_limit_that_is_not_set_is_none() -> None:
    assert tripped(contract("limits: {steps: 9}"), *[tool("search", outcome="error")] * 9) == ([], "")


# ---- which are on, and in what order -----------------------------------------------------------------


def test_always_on_gates_come_first_then_those_that_the_spec_switches_on_then_the_declared_ones() -> None:
    [watched] = contract("limits: {steps: 9}\nuserImpact: material\ngates: [guardrail_bypassed]").values()
    assert watched.gates == (
        "pii_exposed",
        "privilege_escalation",
        "unapproved_side_effect",
        "missing_consent",
        "runaway",
        "undeclared_side_effect",
        "guardrail_bypassed",
    )
