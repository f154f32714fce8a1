"""Spans and log events as stoploss needs them, whichever form of OTLP they came in."""

from __future__ import annotations

from dataclasses import dataclass, field

from stoploss.otlp.values import Values

SERVER, CONSUMER = 2, 5
ERROR = 2
REMOTE_PARENT = 0x300
"""SpanFlags: it is known whether the parent is remote, and it is."""

ID_BYTES, NO_ID = 16, bytes(16)


@dataclass(slots=True)
class Event:
    """An event of a span whose name is in aliases.EVENTS."""

    name: str
    at_ns: int
    values: Values


@dataclass(slots=True)
class Span:
    """values: what the alias table knows of its attributes; resource: likewise of the process that sent it."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: bytes
    kind: int
    start_ns: int
    end_ns: int
    flags: int
    status: int
    values: Values
    resource: Values
    events: list[Event] = field(default_factory=list)

    @property
    def enters(self) -> bool:
        """Whether the request enters here: it has no parent, or one in another process."""
        return not self.parent_id or self.flags & REMOTE_PARENT == REMOTE_PARENT or self.kind in (SERVER, CONSUMER)

    @property
    def failed(self) -> bool:
        return self.status == ERROR or "error_type" in self.values


@dataclass(slots=True)
class LogEvent:
    """A log record whose event name is in aliases.EVENTS."""

    name: str
    trace_id: bytes
    at_ns: int
    values: Values


def is_trace_id(trace_id: bytes) -> bool:
    return len(trace_id) == ID_BYTES and trace_id != NO_ID
