"""How many spans a second one core turns into traces, from the Collector's bytes to framed Avro: python bench/otlp.py

Each record holds one trace, as the exporter writes them with `partition_traces_by_id`. Ids, times, token counts and
conversations differ from record to record. Seconds are those of the processor, and of the whole way: decoding,
waiting for one another, assignment, cost, encoding.

chat     one span, with 17 attributes and a flag evaluation as its event
agent    seven spans: HTTP request, agent, two calls of a model, two of a tool, a database query
mixed    what a Collector sees: four of five traces without any model, the fifth as `agent`
json     as agent, in OTLP JSON
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from datetime import date
from random import Random
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bench.table import RUNS, Table, heading, spread
from stoploss.otlp.assembly import Assembly
from stoploss.otlp.assigning import Flags
from stoploss.otlp.prices import Price, PriceTable
from stoploss.otlp.translating import SPANS, Translator, made

AT_NS = 1_800_000_000_000_000_000
MS = 1_000_000
PRICE = Price.model_validate({"from": date(2024, 1, 1), "input": 0.15, "output": 0.6, "cached": 0.075})
PRICES = PriceTable({"gpt-4o-mini-2024-07-18": (PRICE,)}, {})


class Trace:
    """A request of the exporter with the spans of one trace."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.request = ExportTraceServiceRequest()
        part = self.request.resource_spans.add()
        _set(part.resource.attributes, {"service.name": "shop", "telemetry.sdk.language": "python", "host.name": "a"})
        self._spans = part.scope_spans.add().spans
        self.trace_id = rng.randbytes(16)
        self.start_ns = AT_NS + rng.randrange(10**9)

    def span(self, name: str, after_ms: int, takes_ms: int, parent: Span | None, attributes: dict[str, Any]) -> Span:
        span = self._spans.add(
            name=name,
            trace_id=self.trace_id,
            span_id=self.rng.randbytes(8),
            parent_span_id=b"" if parent is None else parent.span_id,
            kind=Span.SPAN_KIND_SERVER if parent is None else Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=self.start_ns + after_ms * MS,
            end_time_unix_nano=self.start_ns + (after_ms + takes_ms) * MS,
            flags=257,
        )
        _set(span.attributes, attributes)
        return span

    def evaluated(self, span: Span) -> None:
        event = span.events.add(name="feature_flag.evaluation", time_unix_nano=span.start_time_unix_nano)
        variant = "small" if self.rng.random() < 0.05 else "current"
        _set(
            event.attributes,
            {
                "feature_flag.key": "assistant-model",
                "feature_flag.result.variant": variant,
                "feature_flag.context.id": f"user-{self.rng.randrange(10**6)}",
                "feature_flag.provider.name": "flagd",
                "feature_flag.version": "3.2",
            },
        )


def _set(target: Any, attributes: dict[str, Any]) -> None:
    for key, value in attributes.items():
        held = target.add(key=key).value
        if isinstance(value, list):
            for item in value:
                held.array_value.values.add(string_value=item)
        elif isinstance(value, int):
            held.int_value = value
        elif isinstance(value, float):
            held.double_value = value
        else:
            held.string_value = value


def called(rng: Random) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 800,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.response.id": f"chatcmpl-{rng.getrandbits(64):016x}",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": round(rng.random(), 3),
        "gen_ai.usage.input_tokens": rng.randrange(200, 4_000),
        "gen_ai.usage.output_tokens": rng.randrange(20, 800),
        "gen_ai.usage.cache_read.input_tokens": rng.choice((0, 1024)),
        "gen_ai.conversation.id": f"conv-{rng.randrange(10**6)}",
        "server.address": "api.openai.com",
        "server.port": 443,
        "openai.request.service_tier": "default",
    }


def http(rng: Random) -> dict[str, Any]:
    return {
        "http.request.method": "POST",
        "http.route": "/chat",
        "url.path": f"/chat/{rng.randrange(10**6)}",
        "url.scheme": "https",
        "server.address": "shop.example",
        "http.response.status_code": 200,
        "client.address": f"10.0.{rng.randrange(256)}.{rng.randrange(256)}",
        "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    }


def chat(rng: Random) -> ExportTraceServiceRequest:
    trace = Trace(rng)
    trace.evaluated(trace.span("chat gpt-4o-mini", 0, 900, None, called(rng)))
    return trace.request


def agent(rng: Random) -> ExportTraceServiceRequest:
    trace = Trace(rng)
    root = trace.span("POST /chat", 0, 2_400, None, http(rng))
    trace.evaluated(root)
    helper = trace.span(
        "invoke_agent helper",
        5,
        2_300,
        root,
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper", "gen_ai.provider.name": "openai"},
    )
    for after_ms in (10, 1_300):
        trace.span("chat gpt-4o-mini", after_ms, 900, helper, called(rng))
    for name in ("search", "price"):
        tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name, "gen_ai.tool.type": "function"}
        trace.span(f"execute_tool {name}", 950, 200, helper, {**tool, "gen_ai.tool.call.id": rng.randbytes(8).hex()})
    trace.span("SELECT", 960, 4, helper, {"db.system.name": "postgresql", "db.query.text": "SELECT * FROM prices"})
    return trace.request


def page(rng: Random) -> ExportTraceServiceRequest:
    trace = Trace(rng)
    root = trace.span("GET /", 0, 40, None, http(rng))
    for at_ms in range(4):
        trace.span("SELECT", at_ms, 4, root, {"db.system.name": "postgresql", "db.query.text": "SELECT * FROM goods"})
    return trace.request


def mixed(rng: Random) -> ExportTraceServiceRequest:
    return agent(rng) if rng.random() < 0.2 else page(rng)


def as_json(request: ExportTraceServiceRequest) -> bytes:
    """As the Collector writes it: ids in hexadecimal, enums as numbers."""
    import orjson

    document = MessageToDict(request, use_integers_for_enums=True)
    for span, message in zip(
        document["resourceSpans"][0]["scopeSpans"][0]["spans"],
        request.resource_spans[0].scope_spans[0].spans,
        strict=True,
    ):
        span["traceId"], span["spanId"] = message.trace_id.hex(), message.span_id.hex()
        span["parentSpanId"] = message.parent_span_id.hex()
    return orjson.dumps(document)


def translator() -> Translator:
    return Translator(Assembly(Flags({"assistant-model": ("checkout",)}), PRICES))


def measured(values: list[bytes], rounds: int) -> tuple[list[float], int]:
    """Processor seconds of each round, and bytes written."""
    took_s, written = [], 0
    for _ in range(rounds):
        busy = translator()
        gc.collect()
        began_s = time.process_time()
        written = sum(len(each.value) for value in values for each in made(busy.take(SPANS, value, 0, 0.0)))
        took_s.append(time.process_time() - began_s)
    return took_s, written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=RUNS)
    given = parser.parse_args()
    heading(
        "Spans to traces",
        f"{given.traces:,} records of each kind, one trace each; spans a second of one core's time, median "
        f"(least–most) of {given.rounds} rounds.",
        ("opentelemetry-proto", "protobuf", "fastavro"),
    )
    table = Table(("what comes", "spans/s of the processor", "bytes in, of a span", "bytes out"))
    shapes: dict[str, tuple[Callable[[Random], ExportTraceServiceRequest], bool]] = {
        "chat": (chat, False),
        "agent": (agent, False),
        "mixed": (mixed, False),
        "json": (agent, True),
    }
    for name, (shape, json) in shapes.items():
        rng = Random(7)
        requests = [shape(rng) for _ in range(given.traces)]
        spans = sum(len(request.resource_spans[0].scope_spans[0].spans) for request in requests)
        values = [as_json(request) if json else request.SerializeToString() for request in requests]
        took_s, written = measured(values, given.rounds)
        size = sum(map(len, values)) / spans
        table.add(name, spread([spans / one for one in took_s]), f"{size:,.0f}", f"{written:,}")
    print(table.markdown())


if __name__ == "__main__":
    main()
