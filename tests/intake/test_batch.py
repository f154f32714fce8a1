from __future__ import annotations

from typing import Any

from stoploss.intake.batch import Batch
from stoploss.wire.traces import decode_values
from tests.intake.records import SALT, avro, trace


def metric(name: str, *fields: dict[str, Any]) -> list[float | None]:
    """A built-in metric of some traces; None where a trace has none."""
    batch = Batch(decode_values([avro(trace(**each)) for each in fields], "trace").frame, SALT)
    values, present = batch.metric(name)
    return [float(value) if there else None for value, there in zip(values, present, strict=True)]


def test_an_error_is_a_trace_with_an_error_type() -> None:
    assert metric("error_rate", {"error_type": "timeout"}, {"error_type": ""}, {}) == [1.0, 0.0, 0.0]


def test_a_refusal_is_told_by_the_finish_reason_and_unknown_without_one() -> None:
    reasons = ["refusal", "content_filter", "SAFETY", "stop", "", None]
    found = metric("refusal_rate", *({"finish_reason": reason} for reason in reasons))
    assert found == [1.0, 1.0, 1.0, 0.0, None, None]


def test_steps_are_counted() -> None:
    step = {"kind": "tool", "name": "search"}
    assert metric("steps", {"steps": [step, step]}, {}) == [2.0, 0.0]


def test_numbers_are_taken_where_they_are() -> None:
    assert metric("output_tokens", {"output_tokens": 7}, {}) == [7.0, None]
    assert metric("latency_ms", {"latency_ms": 0.0}, {"latency_ms": None}) == [0.0, None]
