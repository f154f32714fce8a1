from __future__ import annotations

import math
import re
from typing import Any

import pytest

from stoploss.intake.results import RawRecord
from stoploss.metrics import LARGEST
from tests.intake.alone import process_traces
from tests.intake.records import (
    AT,
    NAME,
    SALT,
    SOURCE,
    assigned,
    avro,
    outcome,
    take_in,
    take_in_outcomes,
    trace,
    watching,
)

HOUR = 3_600_000_000
GOOD = {"trace_id": "good"}


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"latency_ms": math.nan}, "number", "latency_ms is nan; it must be 0 to"),
        ({"latency_ms": math.inf}, "number", "latency_ms is inf"),
        ({"latency_ms": -0.001}, "number", "latency_ms is -0.001"),
        ({"time_to_first_token_ms": -1.0}, "number", "time_to_first_token_ms is -1"),
        ({"latency_ms": 1e308}, "number", "latency_ms is 1e[+]308"),
        ({"cost_usd": LARGEST / 1e9 * 1.001}, "number", "cost_usd is 1100.* or null where it is not known"),
        ({"cost_usd": -math.inf}, "number", "cost_usd is -inf"),
        ({"output_tokens": -1}, "number", "output_tokens is -1"),
        ({"input_tokens": 2**62}, "number", "input_tokens is"),
        ({"cached_tokens": -1}, "number", "cached_tokens is"),
        ({"reasoning_tokens": -1}, "number", "reasoning_tokens is"),
        ({"scores": [{"name": "a", "value": 1.0}, {"name": "b", "value": math.nan}]}, "number", "score 'b' is nan"),
        ({"scores": [{"name": "a", "value": -1e300}]}, "number", "score 'a' is -1e[+]300"),
        ({"trace_id": ""}, "trace_id", "trace_id has 0 bytes; it must have 1 to 64"),
        ({"trace_id": "é" * 33}, "trace_id", "trace_id has 66 bytes"),
        (
            {"assignments": [assigned(), assigned("small")]},
            "assigned_twice",
            "'checkout-agent-model' is assigned twice",
        ),
    ],
)
def test_a_fault_is_a_dead_letter_and_its_neighbours_arrive(fields: dict[str, Any], code: str, reason: str) -> None:
    result = take_in(trace(**GOOD), trace(**fields), trace(**GOOD))
    (reject,) = result.rejects
    assert (reject.offset, reject.code) == (101, code)
    assert re.search(reason, reject.reason), reject.reason
    assert reject.value == avro(trace(**fields))
    assert result.rows[NAME].columns["offset"].tolist() == [100, 102]
    assert result.clean["offset"].to_list() == [100, 102]


def test_a_reject_counts_for_its_variant() -> None:
    bad = trace(latency_ms=-1.0, assignments=[assigned("small"), assigned("x", "unknown")])
    result = take_in(bad, bad, trace(latency_ms=-1.0, assignments=[assigned("ghost")]))
    assert result.rejects[0].assignments == ((NAME, "small"), ("unknown", "x"))
    counted = {(one.experiment, one.variant): one.count for one in result.counts.rejected_by_variant}
    assert counted == {(NAME, "small"): 2, (NAME, "undeclared"): 1}


@pytest.mark.parametrize("value", [0.0, LARGEST / 1_000])
def test_the_ends_of_the_range_are_fine(value: float) -> None:
    result = take_in(trace(latency_ms=value))
    assert result.rows[NAME].metrics["latency_ms"].tolist() == [round(value * 1_000)]


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (0, "at = 0 is no time"),
        (-5, "is no time"),
        (AT // 1_000_000, "looks like seconds"),
        (AT // 1_000, "looks like milliseconds"),
        (AT + 61_000_000, "is 61 s ahead of the broker's time"),
        (AT - 25 * HOUR, "is 90000 s behind the broker's time"),
        (2**63 - 1, "ahead of"),
    ],
)
def test_an_untimely_trace_is_stored_and_not_judged(at: int, reason: str) -> None:
    result = take_in(trace(**GOOD), trace(at=at))
    assert result.rejects == []
    assert result.rows[NAME].columns["offset"].tolist() == [100]
    good, untimely = result.clean["quarantined"].to_list()
    assert good is None
    assert reason in untimely
    assert (result.counts.valid, result.counts.quarantined, result.counts.rejected) == (1, 1, 0)
    assert [(one.variant, one.count) for one in result.counts.rejected_by_variant] == [("current", 1)]


@pytest.mark.parametrize("at", [AT, AT + 60_000_000, AT - 24 * HOUR])
def test_the_ends_of_the_time_window_are_judged(at: int) -> None:
    assert take_in(trace(at=at)).rows[NAME].rows == 1


def test_a_record_without_a_broker_time_is_held_against_now() -> None:
    records = [RawRecord(0, avro(trace(at=AT)), 0), RawRecord(1, avro(trace(at=AT + HOUR)), -1)]
    result = process_traces(records, SOURCE, watching(), salt=SALT, now_micros=AT)
    assert result.rows[NAME].columns["offset"].tolist() == [0]


def test_an_outcome_may_come_weeks_after_its_request_but_not_before_now() -> None:
    result = take_in_outcomes(outcome(at=AT - 30 * 24 * HOUR), outcome(at=AT - 91 * 24 * HOUR), outcome(at=AT + HOUR))
    assert result.rows[NAME].columns["offset"].tolist() == [100]
    assert result.counts.quarantined == 2
