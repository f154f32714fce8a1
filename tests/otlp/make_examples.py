"""Makes tests/otlp/examples: the same request, told by the real SDK and the instrumentation packages of each dialect.

    python tests/otlp/make_examples.py              all of them, each in an environment of its own (needs uv, packages)
    python tests/otlp/make_examples.py NAME FILE    one, in this environment

The model is a small HTTP server in this process that answers as OpenAI's does. A user with the id user-7 asks; a flag
says which variant serves him, recorded by OpenFeature's hook for OpenTelemetry; the model asks for a tool, then answers
in a stream. Ids and times differ from run to run, so examples are made anew only for other versions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent / "examples"
SDK = ("opentelemetry-sdk==1.45.1", "opentelemetry-exporter-otlp-proto-common==1.45.1")
SDK_OF_1_36 = ("opentelemetry-sdk==1.36.0", "opentelemetry-exporter-otlp-proto-common==1.36.0")
FLAGS = ("openfeature-sdk==0.10.0", "openfeature-hooks-opentelemetry==0.3.1")
NEW, OLD = "openai==2.54.0", "openai==1.109.1"
VERSIONS: dict[str, tuple[str, ...]] = {
    "otel_current": (
        *(*SDK, *FLAGS, NEW),
        *("opentelemetry-instrumentation-openai-v2==2.4b0", "opentelemetry-util-genai==0.4b0"),
    ),
    "otel_1_36": (*SDK_OF_1_36, *FLAGS, OLD, "opentelemetry-instrumentation-openai-v2==2.1b0"),
    "traceloop": (*SDK, *FLAGS, NEW, "traceloop-sdk==0.62.4", "opentelemetry-instrumentation-openai==0.62.4"),
    "traceloop_0_40": (*SDK, *FLAGS, OLD, "opentelemetry-instrumentation-openai==0.40.14"),
    "openinference": (*SDK, *FLAGS, NEW, "openinference-instrumentation-openai==0.1.66"),
    "logs": SDK,
}

MODEL, ANSWERED_BY = "gpt-4o-mini", "gpt-4o-mini-2024-07-18"
QUESTION, ANSWER = "How much is the blue chair?", "The blue chair is 49 euros."
FIRST_USAGE = {
    "prompt_tokens": 812,
    "completion_tokens": 20,
    "total_tokens": 832,
    "prompt_tokens_details": {"cached_tokens": 512},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
LAST_USAGE = {
    "prompt_tokens": 900,
    "completion_tokens": 40,
    "total_tokens": 940,
    "prompt_tokens_details": {"cached_tokens": 768},
    "completion_tokens_details": {"reasoning_tokens": 16},
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "price_of", "arguments": '{"article": "blue chair"}'}}
TOOL = {"type": "function", "function": {"name": "price_of", "parameters": {"type": "object", "properties": {}}}}


# ---- the model -------------------------------------------------------------------------------------


class Model(BaseHTTPRequestHandler):
    """Asks for the tool where the conversation has no result of it yet, else answers."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = self._stream() if asked.get("stream") else self._tool_call()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if asked.get("stream") else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _tool_call(self) -> bytes:
        message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
        return json.dumps(self._whole("chat.completion", [choice], usage=FIRST_USAGE)).encode()

    def _stream(self) -> bytes:
        chunks = [
            self._whole("chat.completion.chunk", [{"index": 0, "delta": {"role": "assistant", "content": word}}])
            for word in ANSWER.split(" ")
        ]
        for chunk in chunks[1:]:
            chunk["choices"][0]["delta"]["content"] = " " + chunk["choices"][0]["delta"]["content"]
        chunks.append(self._whole("chat.completion.chunk", [{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        chunks.append(self._whole("chat.completion.chunk", [], usage=LAST_USAGE))
        return b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"

    def _whole(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": ANSWERED_BY, "choices": choices, **more}

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def model() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()


# ---- the service -----------------------------------------------------------------------------------

Around = Callable[[], AbstractContextManager[Any]]


def serve(tracer: Any, agent: Around, tool: Around) -> None:
    """One request: evaluate the flag, ask the model, call the tool, ask again and stream the answer."""
    from opentelemetry.trace import SpanKind

    with model() as url, tracer.start_as_current_span("POST /chat", kind=SpanKind.SERVER) as span:
        span.set_attribute("http.route", "/chat")
        evaluate_flag()
        with agent():
            ask(url, stream=False, messages=[{"role": "user", "content": QUESTION}])
            with tool():
                pass
            result = {"role": "tool", "tool_call_id": "call_1", "content": "49 euros"}
            asked = {"role": "user", "content": QUESTION}
            ask(
                url, stream=True, messages=[asked, {"role": "assistant", "content": None, "tool_calls": [CALL]}, result]
            )


def evaluate_flag() -> None:
    from openfeature import api
    from openfeature.contrib.hook.opentelemetry import TracingHook
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

    api.set_provider(
        InMemoryProvider({"assistant-model": InMemoryFlag("small", {"small": "small", "current": "current"})})
    )
    api.add_hooks([TracingHook()])
    api.get_client().get_string_value("assistant-model", "current", EvaluationContext("user-7"))


def ask(url: str, *, stream: bool, messages: list[Any]) -> None:
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none", max_retries=0)
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    answer = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL], **more)  # type: ignore[call-overload]
    for _ in answer if stream else ():
        pass


def exported() -> tuple[Any, Any]:
    """A tracer provider, and where its spans end up."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider, exporter


def encoded(exporter: Any) -> bytes:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return bytes(encode_spans(exporter.get_finished_spans()).SerializeToString())


def spans_of(tracer: Any, name: str, attributes: dict[str, Any]) -> Around:
    """A span by hand, where a dialect has no package for agents or tools."""
    return lambda: tracer.start_as_current_span(name, attributes=attributes)


# ---- dialects --------------------------------------------------------------------------------------


def otel_current() -> bytes:
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "SPAN_ONLY"
    return by_otel("gen_ai.provider.name")


def otel_1_36() -> bytes:
    return by_otel("gen_ai.system")


def by_otel(provider_name: str) -> bytes:
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

    provider, exporter = exported()
    OpenAIInstrumentor().instrument()
    tracer = provider.get_tracer("shop")
    agent = {"gen_ai.operation.name": "invoke_agent", provider_name: "openai", "gen_ai.agent.name": "helper"}
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "price_of"}
    serve(
        tracer,
        spans_of(tracer, "invoke_agent helper", {**agent, "gen_ai.conversation.id": "conv-3"}),
        spans_of(tracer, "execute_tool price_of", tool),
    )
    return encoded(exporter)


def traceloop() -> bytes:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from traceloop.sdk import Traceloop
    from traceloop.sdk.decorators import agent, tool

    os.environ["TRACELOOP_TELEMETRY"] = "false"
    exporter = InMemorySpanExporter()
    Traceloop.init(app_name="shop", disable_batch=True, exporter=exporter, telemetry_enabled=False)
    Traceloop.set_association_properties({"session_id": "conv-3", "user_id": "user-7"})
    from opentelemetry import trace

    serve(trace.get_tracer("shop"), decorated(agent, "helper"), decorated(tool, "price_of"))
    return encoded(exporter)


def decorated(decorator: Any, name: str) -> Around:
    """Traceloop's decorators want a function: its body is the `with` block."""

    @contextmanager
    def around() -> Iterator[None]:
        @decorator(name=name)
        def body() -> Iterator[None]:
            yield

        yield from body()

    return around


def traceloop_0_40() -> bytes:
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    provider, exporter = exported()
    OpenAIInstrumentor().instrument()
    tracer = provider.get_tracer("shop")
    agent = {"traceloop.span.kind": "agent", "traceloop.entity.name": "helper"}
    tool = {"traceloop.span.kind": "tool", "traceloop.entity.name": "price_of"}
    serve(
        tracer,
        spans_of(tracer, "helper.agent", {**agent, "traceloop.association.properties.session_id": "conv-3"}),
        spans_of(tracer, "price_of.tool", tool),
    )
    return encoded(exporter)


def openinference() -> bytes:
    from openinference.instrumentation import OITracer, TraceConfig, using_attributes
    from openinference.instrumentation.openai import OpenAIInstrumentor

    provider, exporter = exported()
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    tracer = OITracer(provider.get_tracer("shop"), config=TraceConfig())
    with using_attributes(session_id="conv-3", user_id="user-7", metadata={"arm": "small"}):
        serve(
            provider.get_tracer("shop"),
            lambda: tracer.start_as_current_span("helper", openinference_span_kind="agent"),
            lambda: tracer.start_as_current_span("price_of", openinference_span_kind="tool"),
        )
    return encoded(exporter)


def logs() -> bytes:
    """A flag evaluation and an evaluation of the answer as events of the log, in one trace."""
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
    from opentelemetry.sdk.resources import Resource

    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("shop")
    tracer = exported()[0].get_tracer("shop")
    flag = {"feature_flag.key": "assistant-model", "feature_flag.result.variant": "small"}
    with tracer.start_as_current_span("POST /chat"):
        logger.emit(event_name="feature_flag.evaluation", attributes={**flag, "feature_flag.context.id": "user-7"})
        logger.emit(
            event_name="gen_ai.evaluation.result",
            attributes={"gen_ai.evaluation.name": "helpfulness", "gen_ai.evaluation.score.value": 0.8},
        )
        logger.emit(event_name="shop.sold", attributes={"article": "blue chair"})
    return bytes(encode_logs(exporter.get_finished_logs()).SerializeToString())


MAKERS: dict[str, Callable[[], bytes]] = {
    maker.__name__: maker for maker in (otel_current, otel_1_36, traceloop, traceloop_0_40, openinference, logs)
}


def main(arguments: list[str]) -> None:
    if arguments:
        name, file = arguments
        Path(file).write_bytes(MAKERS[name]())
        return
    EXAMPLES.mkdir(exist_ok=True)
    for name, packages in VERSIONS.items():
        needed = [part for package in packages for part in ("--with", package)]
        command = ["uv", "run", "--no-project", "--isolated", "--python", "3.11", *needed]
        subprocess.run([*command, "python", __file__, name, str(EXAMPLES / f"{name}.pb")], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
