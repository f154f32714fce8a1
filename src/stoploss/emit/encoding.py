"""A service's values as framed Avro, once; what does not fit goes missing alone, with its reason.

A value that is wrong is sent as "no data", never as 0, and the rest of its trace is sent: the trace of a failing
service is the one that matters most.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import fastavro

from stoploss.emit.assignment import Assignment
from stoploss.emit.context import from_token
from stoploss.emit.errors import Unsendable
from stoploss.emit.masking import mask_text
from stoploss.wire import schemas
from stoploss.wire.framing import single_object

Fields = dict[str, Any]

TEXTS = ("input_text", "output_text")
PAIRS = ("attributes", "versions")
STEP_FIELDS = frozenset(("kind", "name", "agent", "mcp_server", "scope", "side_effect", "approval_id", "outcome"))
NOT_NEGATIVE = (
    "latency_ms",
    "time_to_first_token_ms",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_usd",
)
LONGEST_TRACE_ID = 64
LONGEST_TEXT = 32_768
"""Characters of a text that are sent: four bytes each still leave room in Kafka's default message size of 1 MB."""
Check = Callable[[Any], None]
WRONG_VALUE = (TypeError, ValueError, OverflowError, AttributeError, KeyError, IndexError, RecursionError)
"""What fastavro raises for a value that is not of its schema."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One value for Kafka, its key, and the fields that had to be left out, as "field: reason"."""

    key: str
    value: bytes
    reasons: tuple[str, ...] = ()


def encode_trace(fields: Fields, *, mask: bool = True) -> Encoded:
    """A trace; raises Unsendable where a field without a default is wrong."""
    trace, reasons = _prepared(fields, mask=mask)
    return _encode("trace", trace, reasons)


def encode_outcome(fields: Fields) -> Encoded:
    """An outcome with the context of its `context` token; raises Unsendable where the token or a value is wrong."""
    outcome = dict(fields)
    context = from_token(outcome.pop("context"))
    outcome |= {
        "trace_id": context.trace_id,
        "unit_id": context.unit_id,
        "tenant": context.tenant,
        "language": context.language,
        "channel": context.channel,
        "conversation_id": context.conversation_id,
        "assignments": list(map(as_record, context.assignments)),
        "attributes": _pairs(context.attributes),
    }
    return _encode("outcome", outcome, [])


def encode_count(fields: Fields) -> Encoded:
    return _encode("assignment_count", fields, [])


def as_record(assignment: Assignment) -> Fields:
    return {
        "experiment": assignment.experiment,
        "variant": assignment.variant,
        "run": assignment.run,
        "epoch": assignment.epoch,
        "consent": assignment.consent,
    }


def _prepared(fields: Fields, *, mask: bool) -> tuple[Fields, list[str]]:
    """The trace in the schema's own shape; texts masked, pairs as records, fields that it does not know left out."""
    trace, reasons = dict(fields), []
    for name in trace.keys() - _field_names("trace"):
        del trace[name]
        reasons.append("unknown field")
    for name in PAIRS:
        if isinstance(pairs := trace.get(name), Mapping):
            trace[name] = _pairs(pairs)
    for name in TEXTS:
        if isinstance(text := trace.get(name), str):
            trace[name] = (mask_text(text) if mask else text)[:LONGEST_TEXT]
    if isinstance(assignments := trace.get("assignments"), list | tuple):
        trace["assignments"] = [as_record(a) if isinstance(a, Assignment) else a for a in assignments]
    if isinstance(steps := trace.get("steps"), list | tuple) and not all(map(_is_known_step, steps)):
        reasons.append("steps: unknown field")
    return trace, reasons


def _is_known_step(step: Any) -> bool:
    return not isinstance(step, Mapping) or step.keys() <= STEP_FIELDS


def _pairs(mapping: Mapping[str, str]) -> list[Fields]:
    return [{"key": key, "value": value} for key, value in mapping.items()]


def _encode(name: str, record: Fields, reasons: list[str]) -> Encoded:
    schema = schemas.schema(name)
    try:
        datum = _checked(name, record)
    except WRONG_VALUE:
        record = _cleaned(name, record, reasons)
        datum = _write(schema.parsed, record)
    key = record.get("trace_id") or record.get("experiment")
    return Encoded(str(key), single_object(schema.fingerprint, datum), tuple(reasons))


def _checked(name: str, record: Fields) -> bytes:
    """The datum of a record in which everything is right: the usual case, in one pass."""
    for field, check in CHECKS[name]:
        if (value := record.get(field)) is not None:
            check(value)
    return _write(schemas.schema(name).parsed, record)


def _cleaned(name: str, record: Fields, reasons: list[str]) -> Fields:
    """The record without what is wrong: fields that have a default, and single items of arrays."""
    checks = dict(CHECKS[name])
    clean: Fields = {}
    for field in schemas.schema(name).parsed["fields"]:
        value = record.get(field["name"], field.get("default"))
        try:
            clean[field["name"]] = _clean_value(field, value, checks.get(field["name"]), reasons)
        except WRONG_VALUE as error:
            reason = error.reason if isinstance(error, Unsendable) else f"{field['name']}: not of its type"
            if "default" not in field:
                raise Unsendable(reason) from error
            reasons.append(reason)
    return clean


def _clean_value(field: Fields, value: Any, check: Check | None, reasons: list[str]) -> Any:
    avro_type = field["type"]
    if isinstance(avro_type, dict) and avro_type["type"] == "array":
        return _clean_items(field["name"], avro_type["items"], value, check, reasons)
    if check and value is not None:
        check(value)
    _write(avro_type, value)
    return value


def _clean_items(name: str, avro_type: Any, items: Any, check: Check | None, reasons: list[str]) -> list[Any]:
    if not isinstance(items, list | tuple):
        raise Unsendable(f"{name}: not a list")
    clean = []
    for item in items:
        try:
            if check:
                check([item])
            _write(avro_type, item)
        except WRONG_VALUE as error:
            reasons.append(error.reason if isinstance(error, Unsendable) else f"{name}: an item is not of its type")
        else:
            clean.append(item)
    return clean


def _write(avro_type: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, avro_type, value)
    return out.getvalue()


@cache
def _field_names(name: str) -> frozenset[str]:
    return frozenset(field["name"] for field in schemas.schema(name).parsed["fields"])


def _not_negative(field: str) -> Check:
    def check(value: Any) -> None:
        if isinstance(value, bool) or not 0 <= value < math.inf:
            raise Unsendable(f"{field}: not a finite number of at least 0")

    return check


def _finite_value(value: Any) -> None:
    if isinstance(value, bool) or not math.isfinite(value):
        raise Unsendable("value: not a finite number")


def _finite_scores(scores: Any) -> None:
    for score in scores:
        if not math.isfinite(score["value"]):
            raise Unsendable("scores: not a finite number")


def _id(value: Any) -> None:
    if not value or len(value.encode()) > LONGEST_TRACE_ID:
        raise Unsendable(f"trace_id: empty, or over {LONGEST_TRACE_ID} bytes")


CHECKS: dict[str, tuple[tuple[str, Check], ...]] = {
    "trace": (
        ("trace_id", _id),
        ("scores", _finite_scores),
        *((field, _not_negative(field)) for field in NOT_NEGATIVE),
    ),
    "outcome": (("trace_id", _id), ("value", _finite_value)),
    "assignment_count": (),
}
"""What the schema's types cannot say."""
