"""Recorded requests become control's own: read by intake's core, the treatment's left out, what is drawn is said so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stoploss.calibration.recording import is_arrivals, of_arrivals, of_traces
from stoploss.errors import ConfigurationError
from stoploss.experiment import ALWAYS_ON_GATES
from stoploss.spec.file import parse_experiment
from tests.timelines import spec

EXPERIMENT = parse_experiment(spec("segments: [tenant]\ngates: [undeclared_tool]"))
FIRST = 1_790_000_000_000_000


def traces(n: int, **fields: Any) -> list[dict[str, Any]]:
    """Traces of one minute, the last one first."""
    return [
        {
            "trace_id": f"t{row}",
            "at": FIRST + (n - row) * 1_000_000,
            "unit_id": f"u{row // 2}",
            "tenant": "acme",
            "latency_ms": 500 + row,
            "output_tokens": 100,
            **fields,
        }
        for row in range(n)
    ]


def encoded(some: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(trace).encode() for trace in some]


def test_requests_stand_in_time_order_with_units_metrics_and_segments() -> None:
    found = of_traces(encoded(traces(200)), EXPERIMENT, "a file").requests
    assert len(found) == 200
    assert found.distinct_units == 100
    assert found.at.tolist() == sorted(found.at.tolist())
    assert found.metrics["latency_ms"].tolist() == [1_000 * (500 + row) for row in reversed(range(200))]
    assert found.segments["tenant"].values == ("acme",)
    assert (found.start < found.at).all()


def test_what_the_treatment_served_is_left_out_and_other_experiments_do_not_matter() -> None:
    small = traces(50, assignments=[{"experiment": "checkout", "variant": "small"}])
    other = traces(120, assignments=[{"experiment": "other", "variant": "small"}])
    found = of_traces(encoded([*small, *other]), EXPERIMENT, "a file")
    assert (len(found.requests), found.left_out, found.refused) == (120, 50, 0)


def test_what_intake_would_refuse_is_counted_with_its_reason() -> None:
    found = of_traces(encoded([*traces(150), *traces(7, latency_ms=-1.0)]), EXPERIMENT, "a file")
    assert (len(found.requests), found.refused) == (150, 7)
    assert "latency_ms is -1" in found.why


def test_gates_are_those_of_control_whatever_the_treatment_declares() -> None:
    """A pattern with false alarms must show up in calibration as it would in production."""
    some = traces(150)
    some[3]["output_text"] = "your card 4111 1111 1111 1111"
    some[5]["steps"] = [{"kind": "tool", "name": "delete_account"}]
    some[6]["steps"] = [{"kind": "tool", "name": "search", "scope": "catalog.read"}]
    found = of_traces(encoded(some), EXPERIMENT, "a file").requests
    names = [choice.gate for choice in EXPERIMENT.gates]
    bits = {row: [n for i, n in enumerate(names) if int(found.gates[row]) >> i & 1] for row in sorted(found.details)}
    assert list(bits.values()) == [["undeclared_tool"], ["pii_exposed"]]
    assert ALWAYS_ON_GATES[0] == "pii_exposed"


def test_too_few_requests_are_refused_with_the_reason_of_the_first() -> None:
    with pytest.raises(ConfigurationError, match=r"3 requests .* give at least 100"):
        of_traces(encoded(traces(3)), EXPERIMENT, "a file")
    with pytest.raises(ConfigurationError, match="latency_ms is -1"):
        of_traces(encoded(traces(200, latency_ms=-1.0)), EXPERIMENT, "a file")


def test_a_log_of_arrivals_is_known_by_its_first_line_and_what_is_drawn_is_said(tmp_path: Path) -> None:
    log, other = tmp_path / "log.csv", tmp_path / "traces.csv"
    rows = [f"2023-11-16 18:{row // 60:02d}:{row % 60:02d}.5,{100 + row},{10 + row}" for row in range(200)]
    log.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + "\n")
    other.write_text("trace_id,at\n")
    assert is_arrivals(log)
    assert not is_arrivals(other)
    assert not is_arrivals(tmp_path / "traces.jsonl")
    found = of_arrivals(log, EXPERIMENT, 1)
    assert found.requests.metrics["output_tokens"].tolist() == list(range(10, 210))
    assert "arrival times and token counts are real" in found.source
    assert "drawn from the seed" in found.source
