"""Records of the two OTLP topics to records of `traces` and `outcomes`: read, assembled, encoded; no Kafka in here."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from stoploss.errors import MalformedRecord
from stoploss.otlp import json_form, protobuf
from stoploss.otlp.assembly import Assembly, Released
from stoploss.otlp.attributes import Attributes
from stoploss.otlp.encoding import encode
from stoploss.otlp.requests import PASSED
from stoploss.otlp.spans import LogEvent, Span
from stoploss.wire.traces import LARGEST_VALUE_BYTES

SPANS, LOGS = "otlp_spans", "otlp_logs"
JSON_BEGINS = b"{"


@dataclass(frozen=True, slots=True)
class Made:
    """A record for `topic` (traces | outcomes)."""

    topic: str
    key: bytes
    value: bytes


@dataclass(slots=True)
class Translator:
    """The state is the assembly's; use it from one thread at a time."""

    assembly: Assembly
    passed: tuple[str, ...] = ()
    _attributes: Attributes = field(init=False)

    def __post_init__(self) -> None:
        passed = {name: f"{PASSED}{name}" for name in self.passed}
        self._attributes = Attributes({**passed, **self.assembly.flags.attributes})

    def take(self, topic: str, value: bytes | None, source: Hashable, now_s: float) -> Released:
        """One record of a topic (otlp_spans | otlp_logs). Raises MalformedRecord; nothing of it counts then."""
        if topic == SPANS:
            return self.assembly.take_spans(self.read_spans(value), source, now_s)
        return self.assembly.take_logs(self.read_logs(value), source, now_s)

    def read_spans(self, value: bytes | None) -> list[Span]:
        whole = _checked(value)
        read = json_form.read_spans if whole[:1] == JSON_BEGINS else protobuf.read_spans
        return read(whole, self._attributes)

    def read_logs(self, value: bytes | None) -> list[LogEvent]:
        whole = _checked(value)
        read = json_form.read_logs if whole[:1] == JSON_BEGINS else protobuf.read_logs
        return read(whole, self._attributes)


def made(released: Released) -> Iterator[Made]:
    """What was released, as it goes to Kafka, in order."""
    for topic, name, records in (("traces", "trace", released.traces), ("outcomes", "outcome", released.outcomes)):
        for record in records:
            yield Made(topic, record["trace_id"].encode(), encode(name, record))


def _checked(value: bytes | None) -> bytes:
    """protobuf takes no bytes for a whole message."""
    if not value:
        raise MalformedRecord("the value is empty; the Collector's kafka exporter writes otlp_proto or otlp_json")
    if len(value) > LARGEST_VALUE_BYTES:
        raise MalformedRecord(
            f"the value has {len(value)} bytes; at most {LARGEST_VALUE_BYTES} are read: set the exporter's "
            "producer.max_message_bytes to 1000000"
        )
    return value
