"""`stoploss plan` and `stoploss calibrate` as a user runs them, without Kafka or ClickHouse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Program
from tests.timelines import spec

TEXT = spec(
    """
guardrails:
  - {metric: latency_ms, direction: lower, margin: {relative: 0.10}, alpha: 0.01, action: rollback}
  - {metric: resolved, direction: higher, margin: {absolute: 0.02}}
"""
)


@pytest.fixture
def files() -> tuple[Path, Path]:
    """A spec and recorded requests, in the program's directory."""
    file, log = Path("spec.yaml"), Path("requests.jsonl")
    file.write_text(TEXT)
    traces = (
        {
            "trace_id": f"t{row}",
            "at": 1_790_000_000_000_000 + row * 2_000_000,
            "unit_id": f"u{row * 7 % 900}",
            "latency_ms": 300 + row * 37 % 400,
        }
        for row in range(1_500)
    )
    log.write_text("".join(f"{json.dumps(trace)}\n" for trace in traces))
    return file, log


def test_a_plan_is_a_table_a_document_and_a_picture(stoploss: Program, files: tuple[Path, Path]) -> None:
    file, log = files
    told = stoploss("plan", file, "--requests", log, "--picture", "plan.svg")
    assert (told.code, told.err) == (0, "")
    assert "checkout: the plan" in told.out
    assert "requests.jsonl; 1,500 requests of 900 units" in " ".join(told.out.split())
    assert Path("plan.svg").read_text().startswith("<svg ")
    document = json.loads(stoploss("plan", file, "--requests", log, "--json").out)
    assert [guardrail["verdict"] for guardrail in document["guardrails"]] == ["in time", "never"]
    assert document["guardrails"][0]["reaches"][0]["median"]["hours"] > 0


def test_a_plan_can_be_made_from_stated_baselines(stoploss: Program, files: tuple[Path, Path]) -> None:
    stated = ("--requests-per-hour", "2000", "--baseline", "latency_ms=500,250", "--baseline", "resolved=0.7,0.2")
    document = json.loads(stoploss("plan", files[0], *stated, "--json").out)
    assert document["source"].startswith("stated: 2000 requests an hour")
    assert all(guardrail["reaches"] for guardrail in document["guardrails"])


def test_a_calibration_measures_false_stops_and_delays(stoploss: Program, files: tuple[Path, Path]) -> None:
    file, log = files
    asked = ("--requests", log, "--runs", "3", "--harm-runs", "2", "--looks", "10", "--times", "6", "--jobs", "1")
    told = stoploss("calibrate", file, *asked, "--out", "calibration.md", "--json")
    assert (told.code, told.err) == (0, "")
    document = json.loads(told.out)
    assert [found["scenario"] for found in document["false_stops"]] == ["as written", "with every margin at 0"]
    latency, resolved = document["detections"]
    assert (latency["harm"], latency["found"]) == ("latency_ms +60 %", 2)
    assert latency["median"]["units"] > 400
    assert resolved["found"] == 0
    written = Path("calibration.md").read_text()
    assert "# Calibration of checkout" in written
    assert "--runs 3" in written
    assert "| guardrail latency_ms | ≤ 1 % | 3 | 0 |" in written


def test_the_same_seed_measures_the_same_in_any_number_of_processes(
    stoploss: Program, files: tuple[Path, Path]
) -> None:
    asked = ("calibrate", files[0], "--requests", files[1], "--runs", "3", "--harm-runs", "1", "--looks", "5")
    one, two = (json.loads(stoploss(*asked, "--json", "--jobs", jobs).out) for jobs in ("1", "2"))
    assert one == two


@pytest.mark.parametrize("command", ["plan", "calibrate"])
def test_without_requests_both_say_where_they_could_come_from(stoploss: Program, command: str) -> None:
    Path("spec.yaml").write_text(TEXT)
    ended = stoploss(command, "spec.yaml")
    assert ended.code == 1
    assert "--requests FILE" in ended.sentence
    assert "STOPLOSS_CLICKHOUSE_URL" in ended.sentence


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--picture", "plan.png"), "plan.png is no .svg"),
        (("--baseline", "latency_ms=1,1"), "--requests-per-hour"),
        (("--requests", "nowhere.jsonl"), "nowhere.jsonl cannot be read"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(stoploss: Program, arguments: tuple[str, str], named: str) -> None:
    Path("spec.yaml").write_text(TEXT)
    ended = stoploss("plan", "spec.yaml", *arguments)
    assert ended.code == 1
    assert named in ended.sentence
