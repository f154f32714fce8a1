"""Bare outcomes: who takes them, and what they are once their trace is found."""

from __future__ import annotations

from typing import Any

import pytest

from stoploss.intake import bare
from stoploss.intake.bare import bare_outcomes, with_context
from stoploss.intake.results import IntakeResult, RawRecord
from stoploss.wire.traces import decode_values
from tests.intake.alone import process_outcomes
from tests.intake.records import AT, NAME, SALT, SOURCE, assigned, avro, outcome, raw, rows_of, trace, watching

CONTEXT = ("trace_id", "unit_id", "conversation_id", "tenant", "language", "channel", "assignments", "attributes")
DAY_MICROS = 86_400_000_000


def told(**fields: Any) -> bytes:
    """An outcome whose sender knows the trace's id alone."""
    return avro(outcome(**{"assignments": [], "unit_id": None, **fields}), "outcome")


def joined(*values: bytes, looked_up: bool = False) -> IntakeResult:
    records = raw(list(values))
    return process_outcomes(records, SOURCE, watching(), salt=SALT, now_micros=AT, looked_up=looked_up)


def found(*values: bytes) -> bare.Bare:
    return bare_outcomes(decode_values(values, "outcome"), values)


def test_a_bare_outcome_is_left_to_the_resolver_and_its_neighbour_arrives() -> None:
    values = [told(), avro(outcome(), "outcome")]
    result = joined(*values)
    assert (result.rejects, result.clean.height, result.counts.waiting, result.counts.valid) == ([], 1, 1, 1)
    assert result.rows[NAME].columns["offset"].tolist() == [101]
    assert list(found(*values).positions) == [0]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"value": float("nan")}, "number"),
        ({"trace_id": ""}, "trace_id"),
        ({"source": "x" * bare.LARGEST_BARE_BYTES}, "too_large"),
    ],
)
def test_one_that_is_wrong_besides_is_refused_at_once_and_looked_up_by_nobody(
    fields: dict[str, Any], code: str
) -> None:
    value = told(**fields)
    [reject] = joined(value).rejects
    assert reject.code == code
    assert list(found(value).positions) == []


def test_whether_it_is_timely_is_asked_once_it_has_its_context() -> None:
    early = told(at=AT + DAY_MICROS)
    assert joined(early).counts.waiting == 1
    [position] = found(early).positions
    assert position == 0
    resolved = with_context(found(early).outcomes[0], context_of(trace()))
    assert resolved is not None
    result = joined(resolved, looked_up=True)
    assert (result.counts.quarantined, result.counts.valid) == (1, 0)


def test_what_comes_back_without_a_trace_is_a_dead_letter_that_says_how_to_send_it_again() -> None:
    result = joined(told(), told(at=1), avro(outcome(), "outcome"), looked_up=True)
    assert [(reject.code, reject.offset) for reject in result.rejects] == [("unresolved", 100), ("unresolved", 101)]
    assert "stoploss deadletter retry --reason unresolved" in result.rejects[0].reason
    assert (result.counts.valid, result.counts.rejected, result.counts.quarantined) == (1, 2, 0)


def context_of(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in CONTEXT}


def test_with_its_context_it_is_of_the_unit_the_variant_and_the_segments_of_its_trace() -> None:
    """Whatever its sender believed of them: its row must stand in the same cells."""
    stored = trace(
        tenant="acme", attributes=[{"key": "tier", "value": "gold"}], assignments=[assigned("small", run=2, epoch=3)]
    )
    value = told(unit_id="somebody else", tenant="other", value=0.25)
    resolved = with_context(found(value).outcomes[0], context_of(stored))
    assert resolved is not None
    late, row = joined(resolved, looked_up=True).rows[NAME], rows_of(stored)
    for name in ("trace", "unit", "variant", "stamp_run", "stamp_epoch"):
        assert late.columns[name].tolist() == row.columns[name].tolist()
    assert {n: c.values for n, c in late.segments.items()} == {n: c.values for n, c in row.segments.items()}
    assert late.metrics["helpfulness"].tolist() == [250_000]


def test_with_a_context_too_large_for_a_record_there_is_none() -> None:
    attributes = [{"key": str(number), "value": "x" * 1_000} for number in range(1_000)]
    [plain] = found(told()).outcomes
    assert with_context(plain, context_of(trace(attributes=attributes))) is None


def test_each_trace_is_looked_up_once() -> None:
    assert found(told(trace_id="b"), told(trace_id="a"), told(trace_id="b")).trace_ids == ["b", "a"]


def test_what_cannot_be_read_is_not_the_resolvers() -> None:
    values = [b"{", told()]
    assert list(found(*values).positions) == [1]
    records = [RawRecord(number, value, AT // 1_000) for number, value in enumerate(values)]
    result = process_outcomes(records, SOURCE, watching(), salt=SALT, now_micros=AT)
    assert ([reject.offset for reject in result.rejects], result.counts.waiting) == ([0], 1)
