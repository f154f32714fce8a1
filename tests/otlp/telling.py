"""OTLP requests by the official messages, as a Collector's kafka exporter writes them."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

from stoploss.otlp.assembly import Assembly
from stoploss.otlp.assigning import Flags
from stoploss.otlp.prices import Price, PriceTable
from stoploss.otlp.translating import Translator

AT_NS = 1_800_000_000_000_000_000
MS = 1_000_000
TRACE = bytes(range(16))
FLAG, EXPERIMENT = "assistant-model", "checkout"
PRICE = Price.model_validate({"from": date(2024, 1, 1), "input": 0.15, "output": 0.6, "cached": 0.075})
PRICES = PriceTable({"gpt": (PRICE,)}, {})
EVALUATED = {
    "feature_flag.key": FLAG,
    "feature_flag.result.variant": "small",
    "feature_flag.context.id": "user-7",
}
CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt",
    "gen_ai.usage.input_tokens": 1_000,
    "gen_ai.usage.output_tokens": 100,
}


class Telling:
    """Spans of one service in one request."""

    def __init__(self, **resource: Any) -> None:
        self.request = ExportTraceServiceRequest()
        part = self.request.resource_spans.add()
        fill(part.resource.attributes, {"service.name": "shop", **resource})
        self._spans = part.scope_spans.add().spans

    def span(
        self,
        name: str,
        attributes: dict[str, Any] | None = None,
        *,
        parent: Message | None = None,
        trace_id: bytes = TRACE,
        at_ms: int = 0,
        takes_ms: int = 100,
        kind: int = 1,
        **more: Any,
    ) -> Message:
        start_ns = AT_NS + at_ms * MS
        span = self._spans.add(
            name=name,
            trace_id=trace_id,
            span_id=(len(self._spans) + 1 + trace_id[-1] * 256).to_bytes(8, "big"),
            parent_span_id=parent.span_id if parent is not None else b"",
            kind=kind,
            start_time_unix_nano=start_ns,
            end_time_unix_nano=start_ns + takes_ms * MS,
            **more,
        )
        fill(span.attributes, attributes or {})
        return span

    @property
    def value(self) -> bytes:
        return bytes(self.request.SerializeToString())

    @property
    def json(self) -> bytes:
        """As the Collector's JSON: ids in hexadecimal, enums as numbers."""
        document = MessageToDict(self.request, use_integers_for_enums=True)
        for part in document["resourceSpans"]:
            for span, message in zip(part["scopeSpans"][0]["spans"], self._spans, strict=True):
                span["traceId"], span["spanId"] = message.trace_id.hex(), message.span_id.hex()
                span["parentSpanId"] = message.parent_span_id.hex()
        return orjson.dumps(document)


def event(span: Message, name: str, attributes: dict[str, Any], *, at_ms: int = 0) -> None:
    fill(span.events.add(name=name, time_unix_nano=AT_NS + at_ms * MS).attributes, attributes)


def logged(name: str, attributes: dict[str, Any], *, trace_id: bytes = TRACE, by_attribute: bool = False) -> bytes:
    """A request with one log event; older SDKs name it by an attribute."""
    request = ExportLogsServiceRequest()
    part = request.resource_logs.add()
    record = part.scope_logs.add().log_records.add(trace_id=trace_id, time_unix_nano=AT_NS)
    if by_attribute:
        attributes = {"event.name": name, **attributes}
    else:
        record.event_name = name
    fill(record.attributes, attributes)
    return bytes(request.SerializeToString())


def fill(target: Any, attributes: dict[str, Any]) -> None:
    for key, value in attributes.items():
        _set(target.add(key=key).value, value)


def _set(held: Any, value: Any) -> None:
    if isinstance(value, dict):
        held.kvlist_value.SetInParent()
        fill(held.kvlist_value.values, value)
    elif isinstance(value, list):
        held.array_value.SetInParent()
        for item in value:
            _set(held.array_value.values.add(), item)
    elif isinstance(value, bool):
        held.bool_value = value
    elif isinstance(value, int):
        held.int_value = value
    elif isinstance(value, float):
        held.double_value = value
    else:
        held.string_value = value


def translator(
    flags: Flags | None = None, prices: PriceTable = PRICES, passed: tuple[str, ...] = (), **more: Any
) -> Translator:
    return Translator(Assembly(flags or Flags({FLAG: (EXPERIMENT,)}), prices, **more), passed)
