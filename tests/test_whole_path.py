"""The whole path on real Kafka and ClickHouse: from a service's trace to the flag that flips, and back by replay."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import fastavro
import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from stoploss import measures
from stoploss.cli import replaying
from stoploss.control.keys import create_keys
from stoploss.control.messages import write_command
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.emit import Assignment, Tracer
from stoploss.emit.encoding import encode_trace
from stoploss.flags import FlagReader
from stoploss.journal import CommandAcked, ExposuresCounted, Finding, LifecycleChanged
from stoploss.ledger import EvidenceBlock
from stoploss.resources import data_path
from stoploss.signing import Signer
from stoploss.store import queries
from stoploss.store.arrow import clean_from_bytes
from stoploss.store.client import connect
from tests.control.orders import rollback
from tests.control.receiver import Receiver, receiving
from tests.installation import (
    Installation,
    Kafka,
    appending,
    facts_of,
    headers_of,
    installed,
    journal_of,
    letters_of,
    messages,
    registry_of,
    values,
)

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

HARMED, CALM = "support-agent-prompt", "answer-style-aa"
CONTROL, TREATMENT = "v7", "v8"
SDK_TRACES, JSON_TRACES, AVRO_TRACES = 200, 50, 50
CARD = "4111 1111 1111 1111"
CUT_OFF = b'{"trace_id": "cut off'


@dataclass
class World:
    """The installation after all of it has happened."""

    installation: Installation
    flags: FlagReader
    receiver: Receiver
    client: Client
    traces: int = 0
    unknown: int = 0
    arms_after_forgery: set[str] = field(default_factory=set)

    def arm(self, unit_id: str, experiment: str = HARMED) -> str:
        """As a service asks for it."""
        return self.flags.assign(experiment, "nobody asked yet", unit_id).variant


@pytest.fixture(scope="module")
def world(kafka: Kafka, clickhouse: EmbeddedClickHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("whole-path")
    with (
        receiving() as receiver,
        installed(kafka, home, clickhouse_url=clickhouse.url, webhook_url=receiver.url) as installation,
    ):
        for roles in (("intake", "joiner"), ("judge",), ("registrar", "courier", "recorder", "resolver")):
            installation.worker(*roles)
        installation.controller()
        started(installation)
        with closing(FlagReader(installation.flag_file)) as flags:
            world = World(
                installation,
                flags,
                receiver,
                connect(clickhouse.url, database=installation.settings.clickhouse_database),
            )
            installation.wait(lambda: all(flags.assign(name, "", "u").run == 1 for name in (HARMED, CALM)))
            happened(world)
            yield world
        installation.stop()


def spec_of(experiment: str) -> str:
    return data_path("examples", "demo", f"{experiment}.yaml").read_text()


def started(installation: Installation) -> None:
    for name in (HARMED, CALM):
        installation.ask("register", name, spec=spec_of(name))
        installation.ask("start", name, exposure=0.5)
    installation.wait(installation.flag_file.exists)


# ---- what happens --------------------------------------------------------------------------------


def happened(world: World) -> None:
    """Healthy traffic and an outcome; a forgery; a leak and the stop that follows; a pause and a resume."""
    settings = world.installation.settings
    tracer = Tracer(
        settings.need_kafka(),
        service="support",
        topic=settings.topics("traces"),
        outcomes_topic=settings.topics("outcomes"),
        assignments_topic=settings.topics("assignments"),
        mask_text=False,
    )
    known_to_intake(world)
    healthy(world, tracer)
    world.installation.wait(lambda: evidence(world) == world.traces - world.unknown)
    world.installation.wait(lambda: evidence(world, outcomes=True))
    forged(world)
    leak(world, tracer)
    world.installation.wait(lambda: lifecycle(world, HARMED) == "rolled_back")
    world.installation.wait(lambda: {world.arm(f"user-{n}") for n in range(20)} == {CONTROL})
    for action in ("pause", "resume"):
        world.installation.ask(action, CALM)
    world.installation.wait(lambda: world.flags.assign(CALM, "", "u").run == 2)
    tracer.close(10)
    stored(world)
    bare = {"trace_id": "json-0", "at": time.time_ns() // 1_000, "kind": "score", "name": "helpfulness", "value": 0.75}
    send(world, "outcomes", json.dumps(bare).encode())
    world.installation.wait(lambda: evidence(world, outcomes=True) == 2)


def known_to_intake(world: World) -> None:
    """The registry's news reach intake a moment after the flag; a trace before that is of an unknown experiment."""
    while not evidence(world):
        send(world, "traces", json.dumps(trace_of(world, f"probe-{world.traces}")).encode())
        world.traces += 1
        world.installation.wait(lambda: clean_rows(world) == world.traces)
    world.unknown = world.traces - evidence(world)


def healthy(world: World, tracer: Tracer) -> None:
    """By the SDK, as JSON, and as Avro of another producer; two records that nobody can read among them."""
    for number in range(SDK_TRACES):
        unit_id = f"user-{number}"
        assignments = [Assignment(name, world.arm(unit_id, name)) for name in (HARMED, CALM)]
        with tracer.request(unit_id=unit_id, tenant="acme", language="en", assignments=assignments) as request:
            request.set(input_tokens=100, output_tokens=50)
    tracer.flush(10)
    tracer.outcome(request.context, "helpfulness", 0.75, source="person")
    tracer.flush(10)
    for number in range(JSON_TRACES):
        send(world, "traces", json.dumps(trace_of(world, f"json-{number}")).encode())
    send(world, "traces", CUT_OFF)
    for number in range(AVRO_TRACES):
        send(world, "traces", encode_trace(trace_of(world, f"avro-{number}")).value)
    world.traces += SDK_TRACES + JSON_TRACES + AVRO_TRACES


def trace_of(world: World, trace_id: str, **fields: Any) -> dict[str, Any]:
    unit_id = f"user-of-{trace_id}"
    assignment = {"experiment": HARMED, "variant": world.arm(unit_id)}
    base = {"trace_id": trace_id, "at": time.time_ns() // 1_000, "unit_id": unit_id, "latency_ms": 700.0}
    return {**base, "assignments": [assignment], **fields}


def send(world: World, topic: str, value: bytes) -> None:
    appender = appending(world.installation.settings)
    appender.append(world.installation.settings.topics(topic), value)
    appender.flush()


def forged(world: World) -> None:
    """A rollback that somebody else signed; the controller answers that it refuses it."""
    settings = world.installation.settings
    forger = Signer.load(create_keys(settings.home / "forger").private)
    entry = registry_of(settings, HARMED)
    assert entry is not None
    order = rollback(
        sequence=99,
        experiment=HARMED,
        flag=HARMED,
        topic=settings.topics("control"),
        release_variant=CONTROL,
        control_variant=CONTROL,
        treatment_variant=TREATMENT,
    )
    message = write_command(order, forger, settings.installation)
    appender = appending(settings)
    headers = [(name, value or b"") for name, value in message.headers]
    appender.append(message.topic, message.value, key=message.key, partition=entry.partition, headers=headers)
    appender.flush()
    world.installation.wait(lambda: any(b"unverified-" in value for value in values(settings, "acks")))
    world.arms_after_forgery = {world.arm(f"user-{n}") for n in range(20)}


def leak(world: World, tracer: Tracer) -> None:
    """One answer of the new prompt repeats a card number."""
    unit_id = next((f"user-{n}" for n in range(1_000) if world.arm(f"user-{n}") == TREATMENT), None)
    assert unit_id, [entry.conclusion for entry in journal_of(world.installation.settings, HARMED)]
    with tracer.request(unit_id=unit_id, assignments=[Assignment(HARMED, TREATMENT)]) as request:
        request.text(output=f"I have charged {CARD} as you asked.")
    tracer.flush(10)
    world.traces += 1


def stored(world: World) -> None:
    """The recorder has caught up: what the tests ask of it stands there."""
    settings = world.installation.settings

    def caught_up() -> bool:
        counted = queries.trace_count(world.client) >= world.traces
        stopped = any(isinstance(entry.conclusion, ExposuresCounted) for entry in journal_of(settings, HARMED))
        in_store = {name: len(queries.timeline(world.client, name)) for name in (HARMED, CALM)}
        return counted and stopped and all(in_store[name] == len(journal_of(settings, name)) for name in in_store)

    world.installation.wait(caught_up)


def evidence(world: World, *, outcomes: bool = False) -> int:
    """Rows of the harmed experiment that stand in the ledger."""
    blocks = [fact for fact in facts_of(world.installation.settings) if isinstance(fact, EvidenceBlock)]
    return sum(b.rows for b in blocks if b.experiment == HARMED and b.outcomes is outcomes)


def clean_rows(world: World) -> int:
    frames = [clean_from_bytes(value) for value in values(world.installation.settings, "traces_clean")]
    return sum(clean.frame.height for clean in frames if clean.kind == "traces")


def lifecycle(world: World, experiment: str) -> str:
    entry = registry_of(world.installation.settings, experiment)
    return entry.lifecycle if entry else ""


def commands(world: World, experiment: str) -> list[Message]:
    """On the control topic under the installation's own key, forgeries and all."""
    return [m for m in messages(world.installation.settings, "control") if m.key() == experiment.encode()]


# ---- claims --------------------------------------------------------------------------------------


def test_traces_of_the_sdk_in_json_and_in_avro_are_all_evidence_and_a_card_number_is_the_last(world: World) -> None:
    assert evidence(world) == world.traces - world.unknown


def test_the_leak_is_answered_by_one_rollback_that_an_independent_reader_verifies(world: World) -> None:
    forged_or_not = [independently_read(world, message) for message in commands(world, HARMED)]
    verified = [command for command in forged_or_not if command is not None]
    assert len(forged_or_not) == len(verified) + 1
    assert [command["action"] for command in verified] == ["set_exposure", "rollback"]
    order = verified[1]
    assert (order["experiment"], order["release_variant"], order["exposure"]) == (HARMED, CONTROL, 0.0)
    assert order["evidence"]["rule"] == "gate"
    assert CARD not in order["reason"]


def independently_read(world: World, message: Message) -> dict[str, Any] | None:
    """With no code of stoploss, its public key and its schema; None where another key signed it."""
    settings = world.installation.settings
    key = load_pem_public_key((settings.keys / "monitor.pub").read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    key_id = hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:8]
    value, headers = message.value() or b"", dict(headers_of(message))
    said, signature = (headers["stoploss-signature"] or b"").decode().split(";")
    if said != f"keyid={key_id}":
        return None
    key.verify(base64.b64decode(signature.removeprefix("ed25519=")), value)
    schema = fastavro.parse_schema(json.loads(data_path("schemas", "command.avsc").read_text()))
    command = fastavro.schemaless_reader(io.BytesIO(value[10:]), schema, None)
    assert isinstance(command, dict)
    return command


def test_the_flag_flips_to_the_control_variant_for_everybody_and_on_a_forged_command_it_does_not(world: World) -> None:
    assert world.arms_after_forgery == {CONTROL, TREATMENT}
    assert {world.arm(f"user-{n}") for n in range(50)} == {CONTROL}
    assert any(
        isinstance(entry.conclusion, CommandAcked) and entry.conclusion.status == "applied"
        for entry in journal_of(world.installation.settings, HARMED)
    )


def test_on_call_is_told_of_the_rollback_with_the_runbook(world: World) -> None:
    body = world.receiver.wait_for(lambda body: body["alerts"][0]["labels"]["alertname"] == "StoplossRollback")
    (alert,) = body["alerts"]
    assert (alert["status"], alert["labels"]["experiment"]) == ("firing", HARMED)
    assert alert["annotations"]["runbook_url"].startswith("https://runbooks.example.com/")


def test_an_outcome_with_its_context_reaches_the_judge_and_so_does_a_bare_one_of_a_stored_trace(world: World) -> None:
    settings = world.installation.settings
    assert evidence(world, outcomes=True) == 2
    scored = {
        (arm.metric, round(arm.mean or 0.0, 6))
        for value in values(settings, "measures")
        if (measure := measures.decode(value)).experiment == HARMED
        for arm in measure.arms
        if arm.metric == "helpfulness" and arm.n and arm.segment is None
    }
    assert scored == {("helpfulness", 0.75)}
    assert {letter.value: letter.stage for letter in letters_of(settings)} == {CUT_OFF: "intake"}


def test_pause_and_resume_by_request_open_a_new_run(world: World) -> None:
    entries = journal_of(world.installation.settings, CALM)
    changes = [entry.conclusion.after for entry in entries if isinstance(entry.conclusion, LifecycleChanged)]
    assert changes[-3:] == ["running", "paused", "running"]
    assert (lifecycle(world, CALM), world.flags.assign(CALM, "", "u").run) == ("running", 2)


def test_nothing_was_concluded_about_the_experiment_in_which_nothing_happened(world: World) -> None:
    findings = [
        e.conclusion for e in journal_of(world.installation.settings, CALM) if isinstance(e.conclusion, Finding)
    ]
    assert [finding for finding in findings if finding.verdict == "breach"] == []


def test_everything_stands_in_clickhouse(world: World) -> None:
    client, settings = world.client, world.installation.settings
    assert queries.trace_count(client) == world.traces
    assert sum(row.records for row in queries.dead_letters(client)) == 1
    set_exposure, order = queries.commands(client, HARMED)[:2]
    assert [command.command.action for command in (set_exposure, order)] == ["set_exposure", "rollback"]
    assert {ack.status for ack in order.acks} >= {"received", "applied"}
    assert [entry.entry_id for entry in queries.timeline(client, HARMED)] == [
        entry.entry_id for entry in journal_of(settings, HARMED)
    ]
    assert {status.experiment: status.lifecycle for status in queries.status(client)} == {
        HARMED: "rolled_back",
        CALM: "running",
    }


def test_no_card_number_is_stored_as_it_was(world: World) -> None:
    texts = world.client.query("SELECT output_text, pii_classes FROM traces_v WHERE notEmpty(pii_classes)").result_rows
    assert [(CARD in text, classes) for text, classes in texts] == [(False, ["card"])]


@pytest.mark.parametrize("source", ["kafka", "clickhouse"])
@pytest.mark.parametrize("experiment", [HARMED, CALM])
def test_a_replay_of_the_ledger_is_identical(world: World, experiment: str, source: str) -> None:
    found = replaying.comparison(world.installation.settings, experiment, source)
    assert found.identical, found
    assert found.stored > 3
