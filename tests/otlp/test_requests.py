"""The spans of a trace as one request."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from stoploss.otlp.prices import Price, PriceTable
from stoploss.otlp.records import Attribute, Step
from stoploss.otlp.translating import SPANS
from tests.otlp.telling import CHAT, EVALUATED, PRICES, Telling, event, translator

AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper"}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
ERROR = {"code": 2}


def made(told: Telling, prices: PriceTable = PRICES, passed: tuple[str, ...] = ()) -> dict[str, Any]:
    waiting = translator(prices=prices, passed=passed)
    traces = waiting.take(SPANS, told.value, 0, 0.0).traces + waiting.assembly.expire(100.0).traces
    (record,) = traces
    return record


def one(attributes: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = Telling()
    told.span("chat", {**CHAT, **EVALUATED, **attributes}, **more)
    return made(told)


def test_a_frameworks_span_around_a_call_is_not_counted_twice() -> None:
    told = Telling()
    root = told.span("POST /chat", EVALUATED)
    outer = told.span("ChatOpenAI", {"openinference.span.kind": "LLM", "llm.token_count.prompt": 1_000}, parent=root)
    between = told.span("POST api.openai.com", {"http.request.method": "POST"}, parent=outer)
    told.span("chat", CHAT, parent=between)
    record = made(told)
    assert record["input_tokens"] == 1_000
    assert len(record["steps"]) == 1


def test_a_call_inside_a_tool_or_an_agent_is_a_call_of_its_own() -> None:
    told = Telling()
    outer = told.span("chat", {**CHAT, **EVALUATED})
    told.span("chat", CHAT, parent=told.span("execute_tool search", TOOL, parent=outer, at_ms=1), at_ms=2)
    record = made(told)
    assert record["input_tokens"] == 2_000
    assert [step.kind for step in record["steps"]] == ["model", "tool", "model"]


def test_an_mcp_call_below_a_tool_is_the_same_call_and_names_the_server() -> None:
    told = Telling()
    root = told.span("invoke_agent helper", {**AGENT, **EVALUATED})
    tool = told.span("execute_tool search", TOOL, parent=root)
    called = {"mcp.method.name": "tools/call", "gen_ai.tool.name": "search", "server.address": "mcp.example"}
    client = told.span("tools/call search", called, parent=tool)
    told.span("tools/call search", {**called, "server.address": "inside"}, parent=client, kind=2)
    assert made(told)["steps"] == [Step("tool", "search", "helper", "mcp.example", outcome="ok")]


@pytest.mark.parametrize("method", ["tools/list", "initialize", "notifications/progress"])
def test_other_mcp_methods_are_no_steps(method: str) -> None:
    told = Telling()
    told.span("mcp", {**EVALUATED, "mcp.method.name": method})
    assert made(told)["steps"] == []


def test_an_agent_called_by_an_agent_is_handed_to() -> None:
    told = Telling()
    root = told.span("invoke_agent helper", {**AGENT, **EVALUATED})
    second = told.span("invoke_agent", {**AGENT, "gen_ai.agent.name": "seller"}, parent=root, at_ms=1)
    told.span("chat", CHAT, parent=second, at_ms=2)
    kinds = [(step.kind, step.name, step.agent) for step in made(told)["steps"]]
    assert kinds == [("handoff", "seller", "seller"), ("model", "gpt", "seller")]


def test_services_tell_by_our_names_what_no_convention_has() -> None:
    told = Telling()
    root = told.span("POST /chat", {**EVALUATED, "stoploss.tenant": "acme", "stoploss.pii_exposed": True})
    more = {"stoploss.step.scope": "orders:write", "stoploss.step.side_effect": True, "stoploss.step.approval_id": "a1"}
    told.span("execute_tool", {**TOOL, **more, "stoploss.step.outcome": "denied"}, parent=root, at_ms=1)
    told.span("approve", {"stoploss.step.kind": "approval", "tool.name": "refund"}, parent=root, at_ms=2)
    told.span("guard", {"openinference.span.kind": "GUARDRAIL"}, parent=root, at_ms=3)
    record = made(told)
    assert record["tenant"] == "acme"
    assert record["pii_exposed"] is True
    assert record["steps"] == [
        Step("tool", "search", None, None, "orders:write", True, "a1", "denied"),
        Step("approval", "refund", outcome="ok"),
        Step("guardrail", "guard", outcome="ok"),
    ]


def test_a_failed_request_tells_its_error() -> None:
    assert one({"error.type": "timeout"}, status=ERROR)["error_type"] == "timeout"
    assert one({}, status=ERROR)["error_type"] == "_OTHER"
    told = Telling()
    span = told.span("chat", {**CHAT, **EVALUATED}, status=ERROR)
    event(span, "exception", {"exception.type": "openai.RateLimitError"})
    assert made(told)["error_type"] == "openai.RateLimitError"


def test_a_call_that_failed_and_was_made_again_is_a_step_and_no_error() -> None:
    told = Telling()
    root = told.span("POST /chat", EVALUATED)
    failed = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt", "error.type": "429"}
    told.span("chat", failed, parent=root, at_ms=1, status=ERROR)
    told.span("chat", CHAT, parent=root, at_ms=2)
    record = made(told)
    assert record["error_type"] is None
    assert [step.outcome for step in record["steps"]] == ["error", "ok"]
    assert record["input_tokens"] == 1_000
    assert record["cost_usd"] == pytest.approx(0.00021)


def test_latency_is_that_of_the_process_that_calls_the_model() -> None:
    """What other processes tell of the same trace comes sooner, later or never."""
    told = Telling()
    front = told.span("GET /shop", takes_ms=900)
    entry = told.span("POST /chat", EVALUATED, parent=front, kind=2, at_ms=100, takes_ms=500)
    told.span("chat", {**CHAT, "gen_ai.response.time_to_first_chunk": 0.2}, parent=entry, at_ms=150, takes_ms=300)
    record = made(told)
    assert record["latency_ms"] == 500
    assert record["time_to_first_token_ms"] == pytest.approx(250)


def test_parents_that_form_a_circle_are_survived() -> None:
    told = Telling()
    first = told.span("chat", {**CHAT, **EVALUATED})
    second = told.span("chat", CHAT, parent=first)
    first.parent_span_id = second.span_id
    third = told.span("chat", CHAT)
    third.parent_span_id = third.span_id
    assert made(told)["trace_id"]


def test_a_span_that_ends_before_it_begins_took_no_time() -> None:
    record = one({}, takes_ms=-50)
    assert record["latency_ms"] == 0


def test_attributes_are_passed_on_only_where_configured() -> None:
    told = Telling()
    told.span("chat", {**CHAT, **EVALUATED, "app.tier": "gold", "app.secret": "x", "app.size": 3})
    assert "attributes" not in made(told)
    assert made(told, passed=("app.tier", "app.size"))["attributes"] == [
        Attribute("app.tier", "gold"),
        Attribute("app.size", "3"),
    ]


def test_texts_are_masked_before_they_leave() -> None:
    said = [{"role": "assistant", "parts": [{"type": "text", "content": "write to ann@example.org"}]}]
    assert one({"gen_ai.output.messages": said})["output_text"] == "write to [masked:email]"


@pytest.mark.parametrize("said", ["{", "7", [], [1], [{"parts": 3}], [{"parts": [{"type": "text"}]}], {"a": "b"}])
def test_messages_of_another_shape_are_no_text(said: Any) -> None:
    assert one({"gen_ai.output.messages": said})["output_text"] is None


@pytest.mark.parametrize(
    ("sent", "read"),
    [("12", 12), (12.0, 12), (12.5, None), (-1, None), (True, None), ("many", None), (2**62, None), ([1], None)],
)
def test_a_count_is_a_whole_number_however_it_is_sent(sent: Any, read: int | None) -> None:
    assert one({"gen_ai.usage.input_tokens": sent})["input_tokens"] == read


# ---- cost ------------------------------------------------------------------------------------------


def test_cached_tokens_cost_what_the_table_says_and_are_part_of_the_input() -> None:
    record = one({"gen_ai.usage.cache_read.input_tokens": 400})
    assert record["cost_usd"] == pytest.approx((600 * 0.15 + 400 * 0.075 + 100 * 0.6) / 1e6)


def test_an_unknown_model_has_no_cost_and_is_named() -> None:
    """Null, never 0."""
    told = Telling()
    told.span("chat", {**CHAT, **EVALUATED, "gen_ai.response.model": "new-model", "gen_ai.request.model": "newer"})
    released = translator().take(SPANS, told.value, 0, 0.0)
    assert released.traces[0]["cost_usd"] is None
    assert released.unpriced == {"new-model": 1}


def test_one_call_without_a_price_leaves_the_whole_unknown() -> None:
    told = Telling()
    root = told.span("POST /chat", EVALUATED)
    told.span("chat", CHAT, parent=root)
    told.span("embeddings", {**CHAT, "gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e"}, parent=root)
    assert made(told)["cost_usd"] is None


@pytest.mark.parametrize(("said", "cost"), [(0.25, 0.25), (0.0, None), (-1.0, None)])
def test_without_a_price_the_service_may_tell_the_cost(said: float, cost: float | None) -> None:
    assert one({"gen_ai.request.model": "new-model", "llm.cost.total": said})["cost_usd"] == cost


def test_the_price_is_that_of_the_day() -> None:
    older = Price.model_validate({"from": date(2020, 1, 1), "input": 1.0, "output": 0.0})
    future = Price.model_validate({"from": date(2900, 1, 1), "input": 100.0, "output": 0.0})
    table = PriceTable({"gpt": (future, older)}, {})
    told = Telling()
    told.span("chat", {**CHAT, **EVALUATED})
    assert made(told, table)["cost_usd"] == pytest.approx(0.001)
