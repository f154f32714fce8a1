from __future__ import annotations

import copy
import io
import json
import re
from dataclasses import replace
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoploss.wire import schemas, traces
from stoploss.wire.block import zigzag
from stoploss.wire.schemas import Schema
from stoploss.wire.traces import LARGEST_VALUE_BYTES, columns_of, decode_values
from tests.intake.records import AT, as_json, assigned, avro, datum, outcome, trace

FULL = trace(
    trace_id="full",
    role="shadow",
    cost_usd=0.25,
    scores=[{"name": "helpfulness", "value": 0.5}],
    steps=[{"kind": "tool", "name": "search"}],
    attributes=[{"key": "tier", "value": "gold"}],
)


def changed_schema(change: Any) -> Schema:
    """The trace schema with a change, as another service would have it."""
    source = copy.deepcopy(schemas.schema("trace").source)
    change(source)
    parsed = fastavro.parse_schema(schemas.without_logical_types(source))
    return replace(schemas.schema("trace"), source=source, parsed=parsed, fingerprint=schemas.fingerprint_of(source))


def confluent(schema: Schema, record: dict[str, Any], schema_id: int = 42) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.parsed, record)
    return b"\x00" + schema_id.to_bytes(4, "big") + out.getvalue()


def test_avro_and_json_of_one_record_give_the_same_row() -> None:
    decoded = decode_values([avro(FULL), as_json(FULL)], "trace")
    first, second = decoded.frame.to_dicts()
    assert first == second == FULL


def test_the_frame_has_the_columns_of_the_schema_whatever_came() -> None:
    wanted = columns_of("trace")
    for values in ([], [b"broken"], [avro(FULL)], [as_json(FULL)], [avro(FULL), b"{", as_json(FULL)]):
        assert dict(decode_values(values, "trace").frame.schema) == wanted


def test_rows_keep_the_order_they_came_in_across_framings() -> None:
    values = [as_json(trace(trace_id="a")), avro(trace(trace_id="b")), b"", as_json(trace(trace_id="c")), avro(FULL)]
    decoded = decode_values(values, "trace")
    assert decoded.frame["trace_id"].to_list() == ["a", "b", "c", "full"]
    assert decoded.positions.tolist() == [0, 1, 3, 4]
    assert [(fault.position, fault.code) for fault in decoded.refused] == [(2, "empty")]


@pytest.mark.parametrize(
    ("value", "code", "reason"),
    [
        (None, "empty", "empty"),
        (b"hello", "unknown_framing", "known starts are"),
        (b"{" + b" " * LARGEST_VALUE_BYTES, "too_large", "at most 1048576 are read"),
        (b"\xc3\x0112345678datum", "unknown_schema", "is of no schema that this version knows"),
        (b"\x00\x00\x00\x00\x07datum", "unknown_schema", "schema id 7 .* none is configured"),
        (avro(trace())[:-1], "malformed_avro", "no whole Trace"),
        (avro(trace()) + b"x", "malformed_avro", "1 bytes follow it"),
        (b'{"trace_id": 1, "at": 0}', "malformed_json", "field 'trace_id' is 1; it must be a string"),
        (b'{"at": 0}', "malformed_json", "field 'trace_id' is missing"),
    ],
)
def test_what_cannot_be_read_says_why_and_its_neighbours_arrive(value: bytes | None, code: str, reason: str) -> None:
    decoded = decode_values([avro(FULL), value, as_json(FULL)], "trace")
    assert decoded.positions.tolist() == [0, 2]
    (fault,) = decoded.refused
    assert (fault.position, fault.code) == (1, code)
    assert re.search(reason, fault.reason)


def test_a_record_of_another_type_is_refused_by_name() -> None:
    decoded = decode_values([avro(outcome(), "outcome")], "trace")
    assert decoded.refused[0].reason == "the value is a Outcome; this topic carries Trace records"


def test_a_faulty_json_record_keeps_its_assignments_for_counting() -> None:
    value = {"trace_id": "a", "at": "yesterday", "assignments": [assigned("small"), "nonsense", {"experiment": 1}]}
    (fault,) = decode_values([json.dumps(value).encode()], "trace").refused
    assert fault.assignments == (("checkout-agent-model", "small"),)


def test_one_bad_record_in_a_large_batch_costs_only_itself() -> None:
    values: list[bytes | None] = [avro(trace(trace_id=f"t-{place}")) for place in range(1_000)]
    values[777] = avro(FULL)[:-2]
    decoded = decode_values(values, "trace")
    assert [fault.position for fault in decoded.refused] == [777]
    assert decoded.frame["trace_id"].to_list() == [f"t-{place}" for place in range(1_000) if place != 777]


def test_confluent_framing_is_read_with_the_schema_that_the_resolver_gives() -> None:
    schema = schemas.schema("trace")
    values = [confluent(schema, FULL), confluent(schema, FULL, 43)]
    decoded = decode_values(values, "trace", {42: schema}.get)
    assert decoded.frame.to_dicts() == [FULL]
    assert decoded.refused[0].reason.startswith("the schema registry has no schema with id 43, or has not answered")


def test_a_writer_without_a_field_gives_its_default() -> None:
    def drop(source: dict[str, Any]) -> None:
        source["fields"] = [field for field in source["fields"] if field["name"] not in ("steps", "routing", "role")]

    older = changed_schema(drop)
    decoded = decode_values([confluent(older, FULL)], "trace", lambda _: older)
    assert decoded.frame.to_dicts() == [{**FULL, "steps": [], "routing": None, "role": "live"}]


def test_a_writer_with_further_fields_of_any_type_is_read_without_them() -> None:
    def extend(source: dict[str, Any]) -> None:
        source["fields"].append({"name": "labels", "type": {"type": "map", "values": "string"}})

    newer = changed_schema(extend)
    decoded = decode_values([confluent(newer, {**FULL, "labels": {"a": "b"}})], "trace", lambda _: newer)
    assert decoded.frame.to_dicts() == [FULL]


def test_a_writer_with_a_narrower_type_is_promoted() -> None:
    def narrow(source: dict[str, Any]) -> None:
        next(field for field in source["fields"] if field["name"] == "at")["type"] = "int"

    narrower = changed_schema(narrow)
    decoded = decode_values([confluent(narrower, {**FULL, "at": 7})], "trace", lambda _: narrower)
    assert decoded.frame.to_dicts() == [{**FULL, "at": 7}]


@pytest.mark.parametrize("value", [AT, "2026-09-21T14:13:20Z", "2026-09-21T16:13:20.000000+02:00"])
def test_a_json_time_is_micros_or_iso_with_an_offset(value: object) -> None:
    frame = decode_values([json.dumps({"trace_id": "a", "at": value}).encode()], "trace").frame
    assert frame["at"].to_list() == [AT]


def test_json_pairs_may_be_an_object() -> None:
    value = {"trace_id": "a", "at": AT, "scores": {"helpfulness": 1}, "attributes": {"tier": "gold"}, "extra": [1]}
    (row,) = decode_values([json.dumps(value).encode()], "trace").frame.to_dicts()
    assert row["scores"] == [{"name": "helpfulness", "value": 1.0}]
    assert row["attributes"] == [{"key": "tier", "value": "gold"}]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ('"latency_ms": NaN', "NaN is no JSON number"),
        ('"latency_ms": -Infinity', "-Infinity is no JSON number"),
        ('"latency_ms": "12"', "field 'latency_ms' is '12'; it must be a number"),
        ('"latency_ms": 1' + "0" * 400, "must be a number that fits a double"),
        ('"output_tokens": 1.5', "must be a whole number of 64 bits"),
        ('"output_tokens": true', "must be a whole number of 64 bits"),
        ('"output_tokens": 9223372036854775808', "must be a whole number of 64 bits"),
        ('"pii_exposed": 1', "must be true or false"),
        ('"role": "ghost"', "must be one of live, shadow"),
        ('"tenant": "\\ud800"', "without unpaired surrogates"),
        ('"at": "2026-09-21T14:13:20"', "ISO-8601 with an offset"),
        ('"steps": {"kind": "tool"}', "field 'steps' is .* must be a list"),
        ('"assignments": [{"experiment": "e", "variant": "v", "run": 4294967296}]', "'assignments\\[0\\].run'"),
        ('"assignments": [{"experiment": "e"}]', "'assignments\\[0\\].variant' is missing"),
        ('"x": ' + "[" * 200_000, "no JSON object"),
    ],
)
def test_a_json_fault_names_the_field(fields: str, reason: str) -> None:
    value = f'{{"trace_id": "a", "at": 1, {fields}}}'.encode()
    (fault,) = decode_values([value], "trace").refused
    assert fault.code == "malformed_json"
    assert re.search(reason, fault.reason), fault.reason


@pytest.mark.parametrize("value", [b"{\xff}", b'{"a"', b"{} {}"])
def test_what_is_no_json_object_is_refused(value: bytes) -> None:
    assert decode_values([value], "trace").refused[0].code == "malformed_json"


WHOLE = [datum(trace(trace_id="flat")), datum(FULL)]
HEADER = avro(FULL)[:10]
LENGTHS = (-(2**63), -3, -1, 127, 2**31, 2**33, 2**40, 2**62, 2**63 - 1)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A datum with a byte changed, its end cut off, bytes added or removed, or a length replaced."""
    whole = draw(st.sampled_from(WHOLE))
    place = draw(st.integers(0, len(whole) - 1))
    how = draw(st.sampled_from(["change", "cut", "add", "remove", "inflate"]))
    if how == "cut":
        return whole[:place]
    if how == "add":
        return whole + draw(st.binary(min_size=1, max_size=8))
    if how == "remove":
        return whole[:place] + whole[place + draw(st.integers(1, 4)) :]
    new = bytes([draw(st.integers(0, 255))]) if how == "change" else zigzag(draw(st.sampled_from(LENGTHS)))
    return whole[:place] + new + whole[place + 1 :]


@given(st.lists(damaged(), min_size=1, max_size=4), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_no_damaged_record_takes_a_neighbour_with_it(bad: list[bytes], apart: int) -> None:
    good = [avro(trace(trace_id=f"good-{place}")) for place in range(len(bad) * apart + 1)]
    values: list[bytes | None] = list(good)
    for place, one in enumerate(bad):
        values.insert(place * (apart + 1) + 1, HEADER + one)
    decoded = decode_values(values, "trace")
    arrived = set(decoded.positions.tolist())
    assert arrived | {fault.position for fault in decoded.refused} == set(range(len(values)))
    assert {place for place, value in enumerate(values) if value in good} <= arrived
    rows = dict(zip(decoded.positions.tolist(), decoded.frame["trace_id"].to_list(), strict=True))
    names = [rows[place] for place, value in enumerate(values) if value in good]
    assert names == [f"good-{place}" for place in range(len(good))]


def test_a_failing_piece_is_read_singly_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "SINGLY", 1)
    values: list[bytes | None] = [avro(trace(trace_id=f"t-{place}")) for place in range(20)]
    values[3], values[19] = HEADER, HEADER + b"\x00"
    decoded = decode_values(values, "trace")
    assert [fault.position for fault in decoded.refused] == [3, 19]
    assert decoded.frame.height == 18
