"""OTLP JSON, as the Collector writes it with `encoding: otlp_json`, to spans and log events.

It is not what protobuf's own JSON mapping says: ids are hexadecimal, enums are numbers, and int64 are strings, which
some senders write as numbers all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from stoploss.errors import MalformedRecord
from stoploss.otlp.aliases import EVENTS
from stoploss.otlp.attributes import DEEPEST, Attributes
from stoploss.otlp.spans import Event, LogEvent, Span
from stoploss.otlp.values import Values, text

Json = dict[str, Any]
LARGEST_NS = 1 << 64


def read_spans(value: bytes, attributes: Attributes) -> list[Span]:
    """Spans of an ExportTraceServiceRequest in JSON; raises MalformedRecord."""
    return [
        _span(span, resource, attributes)
        for part in _objects(_parsed(value), "resourceSpans")
        for resource in (attributes.read_json(_attributes(_member(part, "resource"))),)
        for scope in _objects(part, "scopeSpans")
        for span in _objects(scope, "spans")
    ]


def read_logs(value: bytes, attributes: Attributes) -> list[LogEvent]:
    """Events of an ExportLogsServiceRequest in JSON that the alias table names; raises MalformedRecord."""
    return [
        event
        for part in _objects(_parsed(value), "resourceLogs")
        for scope in _objects(part, "scopeLogs")
        for record in _objects(scope, "logRecords")
        for event in _log_event(record, attributes)
    ]


def _parsed(value: bytes) -> Json:
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise MalformedRecord(f"the value is no OTLP JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise MalformedRecord(f"the value is a JSON {type(parsed).__name__}; OTLP JSON is an object")
    return parsed


def _span(span: Json, resource: Values, attributes: Attributes) -> Span:
    return Span(
        _id(span, "traceId"),
        _id(span, "spanId"),
        _id(span, "parentSpanId"),
        _text(span, "name").encode(),
        _integer(span, "kind"),
        _integer(span, "startTimeUnixNano"),
        _integer(span, "endTimeUnixNano"),
        _integer(span, "flags"),
        _integer(_member(span, "status"), "code"),
        attributes.read_json(_attributes(span)),
        resource,
        [
            Event(name, _integer(event, "timeUnixNano"), attributes.read_json(_attributes(event)))
            for event in _objects(span, "events")
            if (name := _text(event, "name")) in EVENTS
        ],
    )


def _log_event(record: Json, attributes: Attributes) -> Iterator[LogEvent]:
    values = attributes.read_json(_attributes(record))
    name = _text(record, "eventName") or text(values, "event_name")
    if name in EVENTS:
        at_ns = _integer(record, "timeUnixNano") or _integer(record, "observedTimeUnixNano")
        yield LogEvent(name, _id(record, "traceId"), at_ns, values)


def _attributes(holder: Json) -> Iterator[tuple[str, Any]]:
    for pair in _objects(holder, "attributes"):
        yield _text(pair, "key"), plain(_member(pair, "value"))


def plain(value: Json, depth: int = 0) -> Any:
    """An AnyValue of OTLP JSON as Python has it; what lies too deep, or is of no known kind, is left out.

    >>> plain({"intValue": "12"}), plain({"arrayValue": {"values": [{"stringValue": "stop"}]}})
    (12, ['stop'])
    """
    if depth > DEEPEST or len(value) != 1:
        return None
    ((kind, held),) = value.items()
    if kind == "intValue":
        return _integer(value, kind, signed=True)
    if kind == "arrayValue" and isinstance(held, dict):
        return [plain(item, depth + 1) for item in _objects(held, "values")]
    if kind == "kvlistValue" and isinstance(held, dict):
        return {_text(pair, "key"): plain(_member(pair, "value"), depth + 1) for pair in _objects(held, "values")}
    kinds = {"stringValue": (str,), "boolValue": (bool,), "doubleValue": (float, int)}
    return held if type(held) in kinds.get(kind, ()) else None


# ---- members of objects, each of its type or a fault that names it ---------------------------------


def _wrong(name: str, wanted: str, value: Any) -> MalformedRecord:
    return MalformedRecord(f"{name} is a {type(value).__name__}; OTLP JSON has {wanted} there")


def _member(holder: Json, name: str) -> Json:
    found = holder.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _wrong(name, "an object", found)
    return found


def _objects(holder: Json, name: str) -> list[Json]:
    found = holder.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(type(item) is dict for item in found):
        raise _wrong(name, "a list of objects", found)
    return found


def _text(holder: Json, name: str) -> str:
    found = holder.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise _wrong(name, "a text", found)
    return found


def _id(holder: Json, name: str) -> bytes:
    found = _text(holder, name)
    try:
        return bytes.fromhex(found)
    except ValueError as error:
        raise MalformedRecord(f"{name} is {found[:40]!r}; OTLP JSON has ids in hexadecimal") from error


def _integer(holder: Json, name: str, *, signed: bool = False) -> int:
    """A whole number of 64 bits, as text or number."""
    found = holder.get(name, 0)
    if isinstance(found, str) and len(found) <= 20 and found.isascii() and found.removeprefix("-").isdigit():
        found = int(found)
    least = -LARGEST_NS // 2 if signed else 0
    if type(found) is not int or not least <= found < LARGEST_NS:
        raise _wrong(name, "a whole number of 64 bits", holder.get(name))
    return found
