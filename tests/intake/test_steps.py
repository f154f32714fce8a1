"""A2: what the steps of a trace tell of an agent that runs in circles; D3: events that count as risk."""

from __future__ import annotations

from typing import Any

import pytest

from stoploss.intake.batch import Batch
from stoploss.intake.watched import Watched
from stoploss.wire.traces import decode_values
from tests.intake.records import SALT, avro, declaring, experiment, trace

SEARCH = {"kind": "tool", "name": "search"}
MODEL = {"kind": "model", "name": "large"}


def metric(name: str, *traces: list[dict[str, Any]]) -> list[float | None]:
    """A metric of traces with these steps; None where a trace has none."""
    batch = Batch(decode_values([avro(trace(steps=steps)) for steps in traces], "trace").frame, SALT)
    values, present = batch.metric(name)
    return [float(value) if there else None for value, there in zip(values, present, strict=True)]


def test_a_tool_called_again_is_a_repeated_call_wherever_it_comes_in_the_trace() -> None:
    compare = {"kind": "tool", "name": "compare"}
    circle = [SEARCH, compare, SEARCH, compare, SEARCH]
    assert metric("repeated_calls", [], [SEARCH], [SEARCH, SEARCH], circle) == [0.0, 0.0, 1.0, 3.0]


@pytest.mark.parametrize("field", ["name", "mcp_server", "scope"])
def test_another_name_server_or_scope_is_another_call(field: str) -> None:
    assert metric("repeated_calls", [SEARCH, SEARCH | {field: "other"}]) == [0.0]


def test_the_same_call_in_another_trace_is_no_repetition_and_a_model_repeats_no_tool() -> None:
    assert metric("repeated_calls", [SEARCH], [SEARCH], [MODEL, MODEL]) == [0.0, 0.0, 0.0]


def test_a_retry_is_the_next_equal_call_after_an_error_whatever_lies_between() -> None:
    failed = SEARCH | {"outcome": "error"}
    assert metric("retries", [failed, SEARCH], [failed, MODEL, SEARCH], [failed, failed, SEARCH]) == [1.0, 1.0, 2.0]
    assert metric("retries", [SEARCH, SEARCH], [failed], [failed, MODEL], [failed, SEARCH, SEARCH]) == [0, 0, 0, 1]


def test_samples_are_the_model_steps_and_unknown_where_none_is_told() -> None:
    assert metric("samples", [MODEL, SEARCH, MODEL], [SEARCH], []) == [2.0, None, None]


def test_a_denied_tool_counts_once_a_trace() -> None:
    denied = SEARCH | {"outcome": "Denied"}
    assert metric("denied_tool_rate", [denied, denied], [SEARCH], [MODEL | {"outcome": "denied"}], []) == [1, 0, 0, 0]


@pytest.mark.parametrize("answer", ["block", "flagged", "Redacted", "denied"])
def test_a_guardrail_that_says_more_than_yes_is_a_hit(answer: str) -> None:
    assert metric("guardrail_hit_rate", [{"kind": "guardrail", "name": "toxicity", "outcome": answer}]) == [1.0]


@pytest.mark.parametrize("answer", ["ok", "PASS", "allowed", "", None, "error", "bypassed"])
def test_a_guardrail_that_let_it_pass_or_said_nothing_is_none(answer: str | None) -> None:
    assert metric("guardrail_hit_rate", [{"kind": "guardrail", "name": "toxicity", "outcome": answer}]) == [0.0]


def columns(watched: Watched) -> set[str]:
    return {plan.column for plan in watched.metrics}


def test_they_are_projected_only_where_the_spec_names_them() -> None:
    named = declaring("drift: [{metric: retries}, {metric: denied_tool_rate}]")
    [watched] = named.values()
    assert columns(watched) - columns(Watched.of(experiment(), 0)) == {"retries", "denied_tool_rate"}
