"""OTLP protobuf, as the Collector's kafka exporter writes it with `encoding: otlp_proto`, to spans and log events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError

from stoploss.errors import MalformedRecord
from stoploss.otlp.aliases import EVENTS
from stoploss.otlp.attributes import Attributes
from stoploss.otlp.messages import Logs, Traces
from stoploss.otlp.spans import Event, LogEvent, Span
from stoploss.otlp.values import Values, text

_EVENT_NAMES = {name.encode(): name for name in EVENTS}


def read_spans(value: bytes, attributes: Attributes) -> list[Span]:
    """Spans of an ExportTraceServiceRequest; raises MalformedRecord."""
    try:
        return [
            _span(span, values, attributes)
            for part in Traces.FromString(value).resources
            for values in (attributes.read(part.resource.attributes),)
            for scope in part.scopes
            for span in scope.spans
        ]
    except DecodeError as error:
        raise MalformedRecord(f"the value is no ExportTraceServiceRequest: {error}") from error


def read_logs(value: bytes, attributes: Attributes) -> list[LogEvent]:
    """Events of an ExportLogsServiceRequest that the alias table names; raises MalformedRecord."""
    try:
        return [
            event
            for part in Logs.FromString(value).resources
            for scope in part.scopes
            for record in scope.records
            for event in _log_event(record, attributes)
        ]
    except DecodeError as error:
        raise MalformedRecord(f"the value is no ExportLogsServiceRequest: {error}") from error


def _span(span: Any, resource: Values, attributes: Attributes) -> Span:
    events = span.events
    return Span(
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.name,
        span.kind,
        span.start_ns,
        span.end_ns,
        span.flags,
        span.status.code,
        attributes.read(span.attributes),
        resource,
        list(_events(events, attributes)) if events else [],
    )


def _events(events: Any, attributes: Attributes) -> Iterator[Event]:
    for event in events:
        if (name := _EVENT_NAMES.get(event.name)) is not None:
            yield Event(name, event.at_ns, attributes.read(event.attributes))


def _log_event(record: Any, attributes: Attributes) -> Iterator[LogEvent]:
    """Older SDKs name an event by an attribute, later ones by a field."""
    name = _EVENT_NAMES.get(record.event_name)
    if name is None and record.event_name:
        return
    values = attributes.read(record.attributes)
    name = name or text(values, "event_name")
    if name in EVENTS:
        yield LogEvent(name, record.trace_id, record.at_ns or record.observed_ns, values)
