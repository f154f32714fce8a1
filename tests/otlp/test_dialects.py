"""The same request as the real packages of each dialect tell it; make_examples.py says which, and how it was made."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from stoploss.otlp.assembly import Released
from stoploss.otlp.assigning import Flags
from stoploss.otlp.prices import Price, PriceTable
from stoploss.otlp.records import Assignment, Step
from stoploss.otlp.translating import LOGS, SPANS
from tests.otlp.telling import CHAT, EVALUATED, EXPERIMENT, Telling, event, translator

EXAMPLES = Path(__file__).parent / "examples"
DIALECTS = ("otel_current", "otel_1_36", "traceloop", "traceloop_0_40", "openinference")
WITH_TEXTS = ("otel_current", "traceloop", "traceloop_0_40", "openinference")
PARTS: dict[str, tuple[int | None, int | None]] = {
    "otel_current": (None, None),
    "otel_1_36": (None, None),
    "traceloop": (512 + 768, 0),  # its streams do not tell reasoning tokens
    "traceloop_0_40": (512, None),  # its streams had no usage
    "openinference": (512 + 768, 0 + 16),
}
"""Cached and reasoning tokens, as far as the packages tell them."""
STREAMED = ("traceloop", "traceloop_0_40", "openinference")
ANSWERED_BY = "gpt-4o-mini-2024-07-18"
PRICE = Price.model_validate({"from": date(2024, 7, 18), "input": 0.15, "output": 0.6, "cached": 0.075})
PRICES = PriceTable({ANSWERED_BY: (PRICE,)}, {})


def taken(name: str, flags: Flags | None = None) -> Released:
    return translator(flags, PRICES).take(SPANS, (EXAMPLES / f"{name}.pb").read_bytes(), 0, 0.0)


def trace(name: str) -> dict[str, Any]:
    (record,) = taken(name).traces
    return record


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_tells_who_was_served_by_what(name: str) -> None:
    record = trace(name)
    assert record["assignments"] == [Assignment(EXPERIMENT, "small")]
    assert record["unit_id"] == "user-7"
    assert record["conversation_id"] == "conv-3"
    assert record["service"] == "shop"
    assert record["provider"] == "openai"
    assert record["model"] == ANSWERED_BY
    assert record["operation"] == "invoke_agent"
    assert record["error_type"] is None
    assert record["latency_ms"] > 0


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_tells_the_steps_in_order(name: str) -> None:
    model = Step("model", ANSWERED_BY, "helper", outcome="ok")
    tool = Step("tool", "price_of", "helper", outcome="ok")
    steps = trace(name)["steps"]
    assert sorted(steps) == sorted([model, tool, model])
    assert steps == [model, tool, model]


@pytest.mark.parametrize("name", sorted(set(DIALECTS) - {"traceloop_0_40"}))
def test_tokens_and_cost_are_those_of_all_calls(name: str) -> None:
    record = trace(name)
    assert (record["input_tokens"], record["output_tokens"]) == (1_712, 60)
    cached = PARTS[name][0] or 0
    expected = ((1_712 - cached) * 0.15 + cached * 0.075 + 60 * 0.6) / 1e6
    assert record["cost_usd"] == pytest.approx(expected, rel=1e-12)


def test_a_call_that_does_not_say_its_tokens_leaves_sum_and_cost_unknown() -> None:
    """Streams of that time had no usage."""
    record = trace("traceloop_0_40")
    assert record["input_tokens"] is None
    assert record["cost_usd"] is None


@pytest.mark.parametrize("name", DIALECTS)
def test_cached_and_reasoning_tokens_are_those_that_its_packages_tell(name: str) -> None:
    """The model says 512 + 768 cached and 0 + 16 reasoning tokens, the latter numbers in a stream."""
    record = trace(name)
    assert (record["cached_tokens"], record["reasoning_tokens"]) == PARTS[name]


@pytest.mark.parametrize(
    ("cached", "reasoning"),
    [
        ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.reasoning.output_tokens"),
        ("gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.reasoning_tokens"),
    ],
)
def test_cached_and_reasoning_tokens_in_opentelemetrys_names_are_parts_of_the_totals(
    cached: str, reasoning: str
) -> None:
    """Its conventions name them; the packages that made the examples do not tell them."""
    told = Telling()
    entry = told.span("POST /chat", kind=2)
    event(entry, "feature_flag.evaluation", EVALUATED)
    for number, (of_input, of_output) in enumerate([(512, 0), (256, 16)], start=1):
        told.span(f"chat {number}", {**CHAT, cached: of_input, reasoning: of_output}, parent=entry, takes_ms=10)
    (record,) = translator().take(SPANS, told.value, 0, 0.0).traces
    assert (record["input_tokens"], record["cached_tokens"]) == (2_000, 768)
    assert (record["output_tokens"], record["reasoning_tokens"]) == (200, 16)
    assert record["cost_usd"] == pytest.approx(((2_000 - 768) * 0.15 + 768 * 0.075 + 200 * 0.6) / 1e6, rel=1e-12)


@pytest.mark.parametrize("name", WITH_TEXTS)
def test_texts_are_the_question_and_the_answer(name: str) -> None:
    record = trace(name)
    assert record["input_text"] == "How much is the blue chair?"
    assert record["output_text"] == "The blue chair is 49 euros."


@pytest.mark.parametrize("name", STREAMED)
def test_the_first_token_is_that_of_the_last_call(name: str) -> None:
    record = trace(name)
    assert record["finish_reason"] == "stop"
    assert 0 < record["time_to_first_token_ms"] < record["latency_ms"]


@pytest.mark.parametrize("name", DIALECTS)
def test_p4_without_an_experiment_of_the_flag_nothing_is_made(name: str) -> None:
    """P4: production telemetry that belongs to no experiment is counted and dropped."""
    waiting = translator(Flags({"other-flag": ("other",)}), PRICES)
    at_once = waiting.take(SPANS, (EXAMPLES / f"{name}.pb").read_bytes(), 0, 0.0)
    later = waiting.assembly.expire(100.0)
    assert not at_once.traces + later.traces
    assert (at_once.counts + later.counts)["spans_unassigned"] == 5


def test_openinference_metadata_may_name_the_variant() -> None:
    (record,) = taken("openinference", Flags(configured={"metadata.arm": "chairs"})).traces
    assert record["assignments"] == [Assignment("chairs", "small")]


def test_log_events_of_the_real_sdk_are_read() -> None:
    events = translator().read_logs((EXAMPLES / "logs.pb").read_bytes())
    assert [event.name for event in events] == ["feature_flag.evaluation", "gen_ai.evaluation.result"]
    assert len({event.trace_id for event in events}) == 1
    released = translator().take(LOGS, (EXAMPLES / "logs.pb").read_bytes(), 0, 0.0)
    assert not released.outcomes  # its trace may be yet to come
