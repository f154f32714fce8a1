"""The role on real Kafka: spans of a real SDK become the command that stops their variant, and others are nowhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stoploss.commands import Action
from stoploss.control.messages import read_command
from stoploss.ledger import SourceStatus
from stoploss.otlp.translating import LOGS, SPANS
from stoploss.wire.traces import decode_values
from streams.otlp import ROLE
from tests.installation import (
    Installation,
    Kafka,
    appending,
    committed,
    facts_of,
    headers_of,
    installed,
    letters_of,
    messages,
    registry_of,
    values,
)
from tests.otlp.telling import CHAT, EVALUATED, EXPERIMENT, FLAG, Telling, event, logged
from tests.timelines import spec

pytestmark = pytest.mark.kafka

EXAMPLES = Path(__file__).parent / "examples"
SPEC = spec("gates: [undeclared_tool]\n").replace("flag: checkout", f"flag: {FLAG}")
SCORED = {"gen_ai.evaluation.name": "resolved", "gen_ai.evaluation.score.value": 1.0}
SECRET = "nobodys-experiment"


@pytest.fixture(scope="module")
def world(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(kafka, tmp_path_factory.mktemp("otlp"), otlp_attributes=["app.tier"]) as installation:
        installation.worker("registrar", "intake", "joiner", "judge")
        installation.worker(ROLE)
        installation.ask("register", EXPERIMENT, spec=SPEC)
        installation.ask("start", EXPERIMENT, exposure=0.5)
        yield installation
        installation.stop()


def send(world: Installation, topic: str, value: bytes, key: bytes | None = None) -> None:
    appender = appending(world.settings)
    appender.append(world.settings.topics(topic), value, key=key)
    appender.flush()


def now(told: ExportTraceServiceRequest, trace_id: bytes) -> bytes:
    """The same, a moment ago, in a trace of its own."""
    spans = [span for part in told.resource_spans for scope in part.scope_spans for span in scope.spans]
    later_ns = time.time_ns() - max(span.end_time_unix_nano for span in spans)
    for span in spans:
        span.trace_id = trace_id
        span.start_time_unix_nano += later_ns
        span.end_time_unix_nano += later_ns
        for each in span.events:
            each.time_unix_nano += later_ns
    return bytes(told.SerializeToString())


def traces(world: Installation) -> dict[str, dict[str, object]]:
    frame = decode_values(values(world.settings, "traces"), "trace").frame
    return {row["trace_id"]: row for row in frame.iter_rows(named=True)}


def chat(trace_id: bytes, **attributes: object) -> bytes:
    told = Telling()
    span = told.span("chat", {**CHAT, **attributes}, trace_id=trace_id)
    event(span, "feature_flag.evaluation", {**EVALUATED, "feature_flag.version": "1.1"})
    return now(told.request, trace_id)


def test_p4_what_belongs_to_no_experiment_is_nowhere_but_counted(world: Installation) -> None:
    """P4: not in a topic of stoploss's own, not in a dead letter, even where it cannot be read."""
    told = Telling()
    told.span(SECRET, {"url.path": SECRET}, trace_id=b"unassigned......")
    send(world, SPANS, now(told.request, b"unassigned......"))
    send(world, SPANS, b"\x0a\xff" + SECRET.encode())
    send(world, LOGS, logged("gen_ai.evaluation.result", {**SCORED, "x": SECRET}, trace_id=b"unassigned......"))
    send(world, SPANS, chat(b"p4-good-neighbou"))
    world.wait(lambda: b"p4-good-neighbou".hex() in traces(world))
    world.wait(lambda: letters_of(world.settings))
    (letter,) = letters_of(world.settings)
    assert (letter.stage, letter.code, letter.value) == (ROLE, "malformed_otlp", b"")
    assert letter.size == 2 + len(SECRET)
    world.wait(lambda: _unassigned(world, world.settings.topics(SPANS)))
    for name in ("traces", "outcomes", "deadletter", "ledger", "traces_clean", "journal"):
        assert not any(SECRET.encode() in value for value in values(world.settings, name)), name


def _unassigned(world: Installation, topic: str) -> bool:
    told = [fact for fact in facts_of(world.settings) if isinstance(fact, SourceStatus)]
    return any(fact.source.topic == topic and fact.unassigned == 1 for fact in told)


def test_an_evaluation_in_the_log_becomes_an_outcome_of_its_trace(world: Installation) -> None:
    trace_id = b"evaluated......."
    send(world, LOGS, logged("gen_ai.evaluation.result", SCORED, trace_id=trace_id))
    send(world, SPANS, chat(trace_id, **{"app.tier": "gold"}))
    world.wait(lambda: values(world.settings, "outcomes"))
    outcome = decode_values(values(world.settings, "outcomes"), "outcome").frame.row(0, named=True)
    assert (outcome["trace_id"], outcome["name"], outcome["value"]) == (trace_id.hex(), "resolved", 1.0)
    assert outcome["assignments"][0] | {"consent": None} == {
        "experiment": EXPERIMENT,
        "variant": "small",
        "consent": None,
        "run": 1,
        "epoch": 1,
    }
    assert outcome["attributes"] == [{"key": "app.tier", "value": "gold"}]


def test_a_worker_that_is_killed_loses_no_span_that_waited_and_no_flag_that_was_logged(world: Installation) -> None:
    waits, long = b"span that waits.", b"logged long ago."
    parts = Telling()
    root = parts.span("POST /chat", EVALUATED)
    parts.span("chat", CHAT, parent=root, at_ms=5)
    whole = ExportTraceServiceRequest.FromString(now(parts.request, waits))
    spans = whole.resource_spans[0].scope_spans[0].spans
    first, last = ExportTraceServiceRequest(), ExportTraceServiceRequest()
    first.resource_spans.add().scope_spans.add().spans.append(spans[1])
    last.resource_spans.add().scope_spans.add().spans.append(spans[0])
    send(world, SPANS, first.SerializeToString(), b"k")
    send(world, LOGS, logged("feature_flag.evaluation", EVALUATED, trace_id=long))
    world.wait(lambda: sum(max(0, place) for place in committed(world.settings, ROLE, LOGS).values()) >= 2)
    killed = world.roles[1]
    killed.kill()
    world.worker(ROLE)
    send(world, SPANS, last.SerializeToString(), b"k")
    told = Telling()
    told.span("chat", CHAT)
    send(world, SPANS, now(told.request, long))
    world.wait(lambda: {waits.hex(), long.hex()} <= traces(world).keys())
    assert traces(world)[waits.hex()]["input_tokens"] == 1_000
    world.roles.remove(killed)


def test_spans_of_a_real_sdk_lead_to_the_command_that_stops_their_variant(world: Installation) -> None:
    """Its agent calls a tool that no variant declares."""
    example = ExportTraceServiceRequest.FromString((EXAMPLES / "openinference.pb").read_bytes())
    assert not any(_stops(world, message) for message in messages(world.settings, "control"))
    send(world, SPANS, now(example, b"leads to command"))
    world.wait(lambda: any(_stops(world, message) for message in messages(world.settings, "control")))
    entry = registry_of(world.settings, EXPERIMENT)
    assert entry is not None
    assert traces(world)[b"leads to command".hex()]["model"] == "gpt-4o-mini-2024-07-18"


def _stops(world: Installation, message: Message) -> bool:
    settings = world.settings
    command = read_command(message.value(), headers_of(message), settings.topics("control"), world.verifier)
    return command.action in (Action.ROLLBACK, Action.STOP, Action.PAUSE) and command.exposure == 0
