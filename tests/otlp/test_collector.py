"""From the SDK of a service through a real Collector to the command that stops the variant.

The Collector is built from its modules the first time, which takes minutes and Go: hence `slow`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from stoploss.commands import Action, Command
from stoploss.control.messages import read_command
from stoploss.otlp.translating import SPANS
from streams.otlp import ROLE
from tests.installation import PATIENCE_S, Installation, Kafka, headers_of, installed, messages, registry_of, values
from tests.otlp.telling import CHAT, EVALUATED, EXPERIMENT, FLAG
from tests.timelines import spec

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "collector"
BUILT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "stoploss-tests" / "otelcol-0.160.0"
BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.160.0"
SPEC = spec("gates: [undeclared_tool]\n").replace("flag: checkout", f"flag: {FLAG}")


def built() -> Path:
    """The Collector's binary, made where it is not there yet."""
    binary = BUILT / "build" / "otelcol-kafka"
    if not binary.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        subprocess.run(["go", "run", BUILDER, "--config", str(DEPLOY / "builder.yaml")], cwd=BUILT, check=True)
    return binary


@contextmanager
def running(binary: Path, installation: Installation, encoding: str) -> Iterator[str]:
    """A Collector for an installation's topics; gives its HTTP address."""
    ports = [str(free_port()) for _ in range(2)]
    environment = {
        "KAFKA_BROKERS": str(installation.settings.need_kafka()),
        "TOPIC_PREFIX": installation.settings.topic_prefix,
        "GRPC_PORT": ports[0],
        "HTTP_PORT": ports[1],
        "ENCODING": encoding,
    }
    with collecting(binary, ["config.yaml"], environment, installation.settings.home / "collector.log") as url:
        yield url


@contextmanager
def collecting(binary: Path, configs: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """A Collector with files of deploy/collector; gives its HTTP address."""
    command = [str(binary), *(word for name in configs for word in ("--config", str(DEPLOY / name)))]
    with log.open("w") as file:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=file, stderr=file)
        try:
            listening(int(environment["HTTP_PORT"]))
            yield f"http://127.0.0.1:{environment['HTTP_PORT']}"
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"no Collector listens on port {port}")


def serve_one_request(url: str) -> str:
    """As a service does it; the flag is evaluated in the log. Gives the trace's id."""
    resource = Resource.create({"service.name": "shop"})
    spans, logs = TracerProvider(resource=resource), LoggerProvider(resource=resource)
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
    logs.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(f"{url}/v1/logs")))
    tracer, logger = spans.get_tracer("shop"), logs.get_logger("shop")
    with tracer.start_as_current_span("POST /chat", kind=SpanKind.SERVER) as entry:
        logger.emit(LogRecord(event_name="feature_flag.evaluation", attributes=dict(EVALUATED)))
        with tracer.start_as_current_span("chat gpt", attributes=dict(CHAT)):
            pass
        tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "refund"}
        with tracer.start_as_current_span("execute_tool refund", attributes=tool):
            pass
    spans.shutdown()
    logs.shutdown()
    return f"{entry.get_span_context().trace_id:032x}"


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
def test_from_the_sdk_through_a_collector_to_the_command(kafka: Kafka, tmp_path: Path, encoding: str) -> None:
    collector = built()
    with installed(kafka, tmp_path) as installation:
        installation.worker("registrar", "intake", "judge", ROLE)
        installation.ask("register", EXPERIMENT, spec=SPEC)
        installation.ask("start", EXPERIMENT, exposure=0.5)
        with running(collector, installation, encoding) as url:
            trace_id = serve_one_request(url)
            installation.wait(lambda: _lifecycle(installation) != "running")
        assert _lifecycle(installation) == "stopped"
        command = last_command(installation)
        assert (command.experiment, command.action, command.exposure) == (EXPERIMENT, Action.STOP, 0.0)
        assert command.release_variant == "current"
        assert "refund" in command.reason
        assert {message.key() for message in messages(installation.settings, SPANS)} == {trace_id.encode()}
        assert {message.key() for message in messages(installation.settings, "traces")} >= {trace_id.encode()}
        begins = b"{" if encoding == "otlp_json" else b"\n"
        assert all(value[:1] == begins for value in values(installation.settings, SPANS))


def last_command(installation: Installation) -> Command:
    """As a controller reads it; raises CommandRefused where the monitor did not sign it."""
    topic = installation.settings.topics("control")
    message = messages(installation.settings, "control")[-1]
    return read_command(message.value() or b"", headers_of(message), topic, installation.verifier)


def _lifecycle(installation: Installation) -> str:
    entry = registry_of(installation.settings, EXPERIMENT)
    return "" if entry is None else entry.lifecycle
