from __future__ import annotations

from typing import Any

import pytest

from stoploss.metrics import MISSING
from tests.intake.records import NAME, assigned, rows_of, take_in, trace

CARD = "4111 1111 1111 1111"


def step(**fields: Any) -> dict[str, Any]:
    return {"kind": "tool", "name": "search", "scope": "catalog.read", "mcp_server": "catalog", **fields}


def tripped(**fields: Any) -> tuple[list[str], tuple[str, ...]]:
    """Names of the gates that a trace trips, and what was seen; in the middle of harmless ones."""
    rows = rows_of(trace(), trace(**fields), trace())
    assert [bool(bits) for bits in rows.columns["gates"]].count(True) <= 1
    bits = int(rows.columns["gates"][1])
    return [name for place, name in enumerate(rows.gate_names) if bits >> place & 1], rows.gate_details


def test_a_declared_step_trips_nothing() -> None:
    assert tripped(steps=[step(), step(kind="model", name="large-2", scope=None, mcp_server=None)]) == ([], ())


@pytest.mark.parametrize("flag", ["pii_exposed", "privilege_escalation", "unapproved_side_effect"])
def test_a_flag_of_the_service_trips_its_gate(flag: str) -> None:
    assert tripped(**{flag: True}) == ([flag], (f"the service flagged {flag}",))


@pytest.mark.parametrize(
    ("steps", "gate", "seen"),
    [
        ([step(), step(name="shell")], "undeclared_tool", "tool 'shell' is not declared for variant 'current'"),
        (
            [step(mcp_server="files")],
            "undeclared_mcp_server",
            "MCP server 'files' is not declared for variant 'current'",
        ),
        (
            [step(scope="orders.write")],
            "privilege_escalation",
            "scope 'orders.write' is not declared for variant 'current'",
        ),
        (
            [step(side_effect=True)],
            "unapproved_side_effect",
            "tool 'search' had a side effect without an approval",
        ),
        (
            [step(side_effect=True, approval_id="")],
            "unapproved_side_effect",
            "tool 'search' had a side effect without an approval",
        ),
    ],
)
def test_what_the_steps_show_trips_a_gate_with_a_sentence(steps: list[Any], gate: str, seen: str) -> None:
    assert tripped(steps=steps) == ([gate], (seen,))


def test_an_approved_side_effect_is_fine() -> None:
    assert tripped(steps=[step(side_effect=True, approval_id="a-1")]) == ([], ())


def test_a_side_effect_of_a_step_that_is_no_tool_needs_no_approval() -> None:
    assert tripped(steps=[step(kind="handoff", name="billing", side_effect=True)]) == ([], ())


def test_a_step_without_scope_or_server_exceeds_none() -> None:
    assert tripped(steps=[step(scope=None, mcp_server=""), step(scope="", mcp_server=None)]) == ([], ())


def test_several_gates_of_one_row_stand_in_one_sentence() -> None:
    gates, (seen,) = tripped(pii_exposed=True, steps=[step(name="shell", side_effect=True)])
    assert gates == ["pii_exposed", "unapproved_side_effect", "undeclared_tool"]
    assert seen == (
        "the service flagged pii_exposed; tool 'shell' had a side effect without an approval; "
        "tool 'shell' is not declared for variant 'current'"
    )


def test_a_name_from_traffic_is_shown_only_if_it_is_fit_to_be_shown() -> None:
    _, (seen,) = tripped(steps=[step(name="<script>\x00")])
    assert seen == "tool 'invalid' is not declared for variant 'current'"


def test_a_validated_card_trips_the_gate_and_is_not_quoted() -> None:
    gates, (seen,) = tripped(output_text=f"your card {CARD}")
    assert gates == ["pii_exposed"]
    assert seen == "output_text holds a card number (validated), masked: [card]"


def test_personal_data_of_the_users_own_request_trips_nothing() -> None:
    assert tripped(input_text=f"my card is {CARD}") == ([], ())


def test_an_email_address_is_a_signal_where_it_is_not_declared_and_nothing_where_it_is() -> None:
    text = "write to a@example.org"
    result = rows_of(
        trace(output_text=text),
        trace(output_text=text, assignments=[assigned("small")]),
        trace(output_text="fine"),
        trace(),
    )
    assert result.columns["gates"].tolist() == [0, 0, 0, 0]
    assert result.metrics["pii_suspected_rate"].tolist() == [1, 0, 0, MISSING]


def test_a_variant_that_nobody_declared_may_expose_nothing_but_has_no_scope_to_exceed() -> None:
    ghost = [assigned("ghost")]
    assert tripped(assignments=ghost, steps=[step(name="shell", scope="root")]) == ([], ())
    assert tripped(assignments=ghost, output_text=CARD)[0] == ["pii_exposed"]


def test_a_shadow_run_with_a_side_effect_trips_its_gate() -> None:
    rows = rows_of(trace(), trace(role="shadow", steps=[step(kind="model", name="m", side_effect=True)]))
    assert rows.gate_details == ("step 'm' of a shadow run had a side effect",)
    assert rows.columns["offset"].tolist() == [100, 101]


def test_a_shadow_run_is_no_evidence_and_only_its_gates_are_told() -> None:
    rows = rows_of(trace(role="shadow"), trace(role="shadow", pii_exposed=True), trace())
    assert rows.columns["offset"].tolist() == [101, 102]
    assert {int(values[0]) for values in rows.metrics.values()} == {MISSING}
    assert rows.metrics["latency_ms"].tolist() == [MISSING, 100_000]


def test_a_tripped_gate_is_told_to_the_caller_who_then_flushes() -> None:
    assert take_in(trace(pii_exposed=True)).tripped_gate
    assert not take_in(trace()).tripped_gate


def test_a_gate_of_an_untimely_or_unknown_trace_is_not_judged() -> None:
    untimely = trace(pii_exposed=True, at=0)
    unknown = trace(pii_exposed=True, assignments=[assigned(name="unknown")])
    result = take_in(untimely, unknown)
    assert not result.tripped_gate
    assert NAME not in result.rows
