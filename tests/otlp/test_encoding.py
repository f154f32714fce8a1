"""What is written is what fastavro, and so everybody, reads."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import hypothesis.strategies as st
from hypothesis import given, settings

from stoploss.otlp.encoding import encode
from stoploss.otlp.records import Assignment, Attribute, Step
from stoploss.wire import schemas
from stoploss.wire.framing import SINGLE_OBJECT_SIZE
from stoploss.wire.traces import decode_values

TEXTS = st.text(max_size=100)
LONGS = st.integers(-(2**63), 2**63 - 1)
INTS = st.none() | st.integers(-(2**31), 2**31 - 1)
ITEMS = {
    "assignments": st.builds(Assignment, TEXTS, TEXTS, st.none() | st.booleans(), INTS, INTS),
    "steps": st.builds(
        Step, TEXTS, TEXTS, st.none() | TEXTS, st.none() | TEXTS, st.none() | TEXTS, st.booleans(), st.none() | TEXTS
    ),
    "attributes": st.builds(Attribute, TEXTS, TEXTS),
}
NAMED = {"Assignment": Assignment, "Step": Step, "Attribute": Attribute}


def values_of(field: Any) -> st.SearchStrategy[Any]:
    kind = field["type"]
    if isinstance(kind, list):
        return st.none() | values_of({**field, "type": next(branch for branch in kind if branch != "null")})
    if isinstance(kind, dict) and kind["type"] == "array":
        return st.lists(ITEMS[field["name"]], max_size=3) if field["name"] in ITEMS else st.just([])
    if isinstance(kind, dict) and kind["type"] == "enum":
        return st.sampled_from(kind["symbols"])
    name = kind["type"] if isinstance(kind, dict) else kind
    return {"string": TEXTS, "long": LONGS, "double": st.floats(allow_nan=False), "boolean": st.booleans()}[name]


def records(name: str) -> st.SearchStrategy[dict[str, Any]]:
    fields = schemas.schema(name).source["fields"]
    needed = {field["name"]: values_of(field) for field in fields if "default" not in field}
    optional = {field["name"]: values_of(field) for field in fields if "default" in field}
    return st.fixed_dictionaries(needed, optional=optional)


def read(name: str, value: bytes) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(value[SINGLE_OBJECT_SIZE:]), schemas.schema(name).parsed, None)


def expected(name: str, record: dict[str, Any]) -> dict[str, Any]:
    filled = {field["name"]: field.get("default") for field in schemas.schema(name).source["fields"]}
    for field, value in record.items():
        if value is not None:
            filled[field] = [item._asdict() for item in value] if isinstance(value, list) else value
    return filled


@settings(max_examples=60, deadline=None)
@given(records("trace"))
def test_traces_are_read_as_they_were_written(record: dict[str, Any]) -> None:
    assert read("trace", encode("trace", record)) == expected("trace", record)


@settings(max_examples=30, deadline=None)
@given(records("outcome"))
def test_outcomes_are_read_as_they_were_written(record: dict[str, Any]) -> None:
    assert read("outcome", encode("outcome", record)) == expected("outcome", record)


def test_items_have_the_fields_of_their_schemas_in_order() -> None:
    arrays = [field["type"]["items"] for field in schemas.schema("trace").source["fields"] if field["name"] in ITEMS]
    assert len(arrays) == len(ITEMS)
    for items in arrays:
        assert NAMED[items["name"]]._fields == tuple(field["name"] for field in items["fields"])


def test_intake_reads_them_in_its_columns() -> None:
    value = encode("trace", {"trace_id": "a", "at": 1, "assignments": [Assignment("checkout", "small")]})
    decoded = decode_values([value], "trace")
    assert not decoded.refused
    assert decoded.frame["assignments"].to_list()[0][0]["variant"] == "small"
