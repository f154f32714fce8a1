"""The examples of services are run as a user runs them, against the real Kafka; what they sent is read back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from stoploss import leases
from stoploss.control.keys import create_keys
from stoploss.control.messages import write_command
from stoploss.embedded.ports import free_port
from stoploss.leases import Lease, LeasedRun
from stoploss.leases.message import headers_of
from stoploss.resources import data_path
from stoploss.signing import Signer
from stoploss.wire.json_records import read_json
from tests.control.orders import order

from .test_delivery import Kafka, decoded

pytestmark = pytest.mark.kafka

TRACES, OUTCOMES = "stoploss.traces", "stoploss.outcomes"
TOPICS = (TRACES, OUTCOMES, "stoploss.assignments", "stoploss.control", "stoploss.leases")
PATIENCE_S = 60.0
SERVICES = data_path("examples", "services")


@dataclass(frozen=True, slots=True)
class Broker:
    """The session's Kafka with the topics that services know by default, one partition each."""

    bootstrap: str

    def create(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        config = {"message.timestamp.type": "LogAppendTime"}
        there = admin.list_topics(timeout=PATIENCE_S).topics
        missing = [NewTopic(name, 1, 1, config=config) for name in TOPICS if name not in there]
        for created in admin.create_topics(missing).values() if missing else ():
            created.result(PATIENCE_S)

    def of(self, topic: str, unit: str, n: int, read: Callable[[bytes], Any] = decoded) -> list[dict[str, Any]]:
        """The first n records about a unit."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": f"examples-{unit}"})
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[dict[str, Any]] = []
        deadline_s = time.monotonic() + PATIENCE_S
        while len(found) < n and time.monotonic() < deadline_s:
            message = consumer.poll(0.1)
            if message is not None and message.error() is None and unit.encode() in (message.value() or b""):
                found.append(read(message.value() or b""))
        consumer.close()
        return found


@pytest.fixture(scope="module")
def broker(kafka: Kafka) -> Broker:
    found = Broker(kafka.bootstrap)
    found.create()
    return found


def run(broker: Broker, *command: str, cwd: Path | None = None) -> str:
    environment = {**os.environ, "STOPLOSS_KAFKA": broker.bootstrap}
    done = subprocess.run(
        command, check=False, cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE_S * 2
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assigned(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["experiment"], one["variant"]) for one in record["assignments"]]


def test_the_plain_service_sends_a_trace_and_what_becomes_of_it(broker: Broker) -> None:
    said = run(broker, sys.executable, str(SERVICES / "plain.py"), "u-plain-1", "Where is my order?")
    assert said.splitlines()[-1] == "delivered: 3 of 3"
    (trace,) = broker.of(TRACES, "u-plain-1", 1)
    assert assigned(trace) == [("checkout-agent-model", "current")]
    assert (trace["service"], trace["model"], trace["steps"][0]["name"]) == ("plain", "large-2", "search")
    outcomes = broker.of(OUTCOMES, "u-plain-1", 2)
    assert [(one["kind"], one["name"], one["value"]) for one in outcomes] == [
        ("feedback", "feedback", 1.0),
        ("business", "resolved", 1.0),
    ]
    assert {one["trace_id"] for one in outcomes} == {trace["trace_id"]}


def test_the_batch_job_delivers_before_it_ends_and_another_process_grades_it(broker: Broker, tmp_path: Path) -> None:
    questions, answers = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    units = [(f"u-batch-{number}", "small" if number % 2 else "current") for number in range(20)]
    lines = [json.dumps({"unit": unit, "variant": variant, "question": "why"}) for unit, variant in units]
    questions.write_text("\n".join(lines))
    batch = (sys.executable, str(SERVICES / "batch.py"))
    assert run(broker, *batch, "run", str(questions), str(answers)) == "delivered: 20 of 20\n"
    assert run(broker, *batch, "grade", str(answers)) == "delivered: 20 of 20\n"
    traces = broker.of(TRACES, "u-batch-", 20)
    scores = broker.of(OUTCOMES, "u-batch-", 20)
    assert {(trace["unit_id"], assigned(trace)[0][1]) for trace in traces} == set(units)
    assert {score["trace_id"] for score in scores} == {trace["trace_id"] for trace in traces}
    assert {(score["unit_id"], assigned(score)[0][1]) for score in scores} == set(units)


# ---- FastAPI -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Api:
    port: int

    def post(self, path: str, **body: Any) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            content = response.read()
        return json.loads(content) if content else None


@contextmanager
def api(broker: Broker, monitor_key: Path) -> Iterator[Api]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "api:app", "--app-dir", str(SERVICES), "--port", str(port)]
    environment = {**os.environ, "STOPLOSS_KAFKA": broker.bootstrap, "STOPLOSS_MONITOR_KEY": str(monitor_key)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = next(line for line in process.stderr if "Uvicorn running" in line or "rror" in line)
            assert "Uvicorn running" in said
            yield Api(port)
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)


@contextmanager
def leased(broker: Broker, signer: Signer) -> Iterator[None]:
    """The monitor's lease for the run, every tenth of a second until the block ends."""
    ended = threading.Event()
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0})

    def give() -> None:
        watermark = 0
        while not ended.wait(0.1):
            watermark += 1
            runs = (LeasedRun("checkout-agent-model", 1),)
            value = leases.encode(Lease(0, watermark, runs, time.time_ns() // 1_000))
            producer.produce("stoploss.leases", value, headers=list(headers_of(value, signer)))
            producer.poll(0)

    thread = threading.Thread(target=give)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        producer.flush(PATIENCE_S)


def test_the_fastapi_service_follows_commands_while_the_lease_holds(broker: Broker, tmp_path: Path) -> None:
    keys = create_keys(tmp_path)
    signer, name = Signer.load(keys.private), "checkout-agent-model"
    command = order(experiment=name, flag=name, exposure=1.0, expires_at=None)
    message = write_command(command, signer, "test")
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce("stoploss.control", message.value, message.key, headers=list(message.headers))
    assert producer.flush(PATIENCE_S) == 0
    with api(broker, keys.public) as service:
        alone = service.post("/answer", user="u-api-alone", text="abc")
        assert alone["text"] == "large-2 says: cba"
        with leased(broker, signer):
            deadline_s = time.monotonic() + PATIENCE_S
            while (said := service.post("/answer", user="u-api-leased", text="abc"))["text"] != "small-1 says: cba":
                assert time.monotonic() < deadline_s
        assert service.post("/feedback", token=said["token"], thumb_up=False) is None
    (without,) = broker.of(TRACES, "u-api-alone", 1)
    assert [(one["variant"], one["run"]) for one in without["assignments"]] == [("current", 0)]
    (outcome,) = broker.of(OUTCOMES, "u-api-leased", 1)
    assert (outcome["kind"], outcome["value"]) == ("feedback", 0.0)
    assert [(one["experiment"], one["variant"], one["run"], one["epoch"]) for one in outcome["assignments"]] == [
        (name, "small", 1, 1)
    ]


# ---- Node ----------------------------------------------------------------------------------------------

NODE = data_path("examples", "node")


def missing() -> str:
    """What the Node example needs and is not here; empty: nothing."""
    absent = [name for name in ("node", "npm") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else ""


@pytest.mark.skipif(bool(missing()), reason=f"the Node example cannot run here: {missing()}")
def test_the_node_service_sends_json_that_reads_as_a_trace_and_an_outcome(broker: Broker, tmp_path: Path) -> None:
    for name in ("package.json", "package-lock.json", "service.mjs"):
        shutil.copy2(NODE / name, tmp_path / name)
    run(broker, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=tmp_path)
    assert run(broker, "node", "service.mjs", "u-node-1", "Where is my order?", cwd=tmp_path).startswith("sent ")
    (trace,) = broker.of(TRACES, "u-node-1", 1, lambda value: read_json(value, "trace"))
    (outcome,) = broker.of(OUTCOMES, "u-node-1", 1, lambda value: read_json(value, "outcome"))
    assert assigned(trace) == assigned(outcome) == [("checkout-agent-model", "small")]
    assert (trace["service"], trace["attributes"]) == ("node-service", [{"key": "plan", "value": "free"}])
    assert trace["latency_ms"] > 0
    assert (outcome["trace_id"], outcome["kind"], outcome["value"]) == (trace["trace_id"], "business", 1.0)


def test_the_lock_of_the_node_example_names_sums_and_no_addresses() -> None:
    packages = json.loads((NODE / "package-lock.json").read_text())["packages"]
    wanted = [package for name, package in packages.items() if name]
    assert wanted
    assert all(package["integrity"].startswith("sha512-") and "resolved" not in package for package in wanted)
