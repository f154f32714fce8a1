"""From a tracer through real Kafka and back."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import fastavro
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from stoploss.emit import Tracer
from stoploss.wire import schemas
from stoploss.wire.framing import framing_of

pytestmark = pytest.mark.kafka
READ_TIMEOUT_S = 30.0


class Kafka(Protocol):
    @property
    def bootstrap(self) -> str: ...


@dataclass
class Topics:
    """Three topics of this test alone, and what stands in them."""

    bootstrap: str
    prefix: str = field(default_factory=lambda: f"emit-{uuid.uuid4().hex}")

    @property
    def names(self) -> dict[str, str]:
        """The tracer's arguments."""
        return {name: f"{self.prefix}.{name}" for name in ("topic", "outcomes_topic", "assignments_topic")}

    def create(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for created in admin.create_topics([NewTopic(name, 1, 1) for name in self.names.values()]).values():
            created.result(READ_TIMEOUT_S)

    def read(self, which: str, at_least: int) -> list[dict[str, Any]]:
        """Every record that a topic holds once there are as many, decoded by the schema that each one names."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.prefix})
        partition = TopicPartition(self.names[which], 0, 0)
        consumer.assign([partition])
        records = read_records(consumer, at_least)
        records += read_records(consumer, consumer.get_watermark_offsets(partition)[1] - len(records))
        consumer.close()
        return records


def read_records(consumer: Consumer, n: int) -> list[dict[str, Any]]:
    """The next n records, and those that came with the last of them."""
    records: list[dict[str, Any]] = []
    deadline_s = time.monotonic() + READ_TIMEOUT_S
    while len(records) < n:
        assert time.monotonic() < deadline_s, f"{len(records)} of {n} records in {READ_TIMEOUT_S} s"
        messages = consumer.consume(1_000, timeout=0.1)
        records += [decoded(message.value() or b"") for message in messages if message.error() is None]
    return records


def decoded(value: bytes) -> dict[str, Any]:
    framing = framing_of(value)
    datum = io.BytesIO(value[framing.size :])
    record = fastavro.schemaless_reader(datum, schemas.by_fingerprint(framing.mark).parsed, None)
    assert isinstance(record, dict)
    return record


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    topics = Topics(kafka.bootstrap)
    topics.create()
    return topics


@pytest.fixture
def tracer(topics: Topics) -> Iterator[Tracer]:
    tracer = Tracer(topics.bootstrap, service="checkout", **topics.names)  # type: ignore[arg-type]
    yield tracer
    tracer.close()


def test_flush_delivers_every_trace_of_eight_threads_once(tracer: Tracer, topics: Topics) -> None:
    def serve(number: int) -> None:
        for i in range(100):
            with tracer.request(experiment="e", variant="v", unit_id=f"u-{number}") as request:
                request.set(input_tokens=i)

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracer.flush(30)
    stats = tracer.stats
    assert (stats.recorded, stats.delivered, stats.pending, stats.dropped) == (800, 800, 0, {})
    traces = topics.read("topic", 800)
    sent = {(f"u-{number}", i) for number in range(8) for i in range(100)}
    assert len(traces) == 800
    assert {(trace["unit_id"], trace["input_tokens"]) for trace in traces} == sent
    assert all(trace["service"] == "checkout" and trace["latency_ms"] >= 0 for trace in traces)


def test_an_outcome_arrives_with_its_traces_context_from_another_tracer(tracer: Tracer, topics: Topics) -> None:
    with tracer.request(experiment="e", variant="v", unit_id="u-1", tenant="acme") as request:
        token = request.context
    later = Tracer(topics.bootstrap, service="feedback", **topics.names)  # type: ignore[arg-type]
    later.outcome(token, "resolved", 1.0, kind="business", source="crm")
    later.close()
    tracer.close()
    (trace,) = topics.read("topic", 1)
    (outcome,) = topics.read("outcomes_topic", 1)
    for same in ("trace_id", "unit_id", "tenant", "assignments"):
        assert outcome[same] == trace[same]
    assert (outcome["kind"], outcome["name"], outcome["value"], outcome["source"]) == (
        "business",
        "resolved",
        1.0,
        "crm",
    )


def test_close_sends_how_many_requests_began_in_each_variant(tracer: Tracer, topics: Topics) -> None:
    for variant in ("v", "w", "v"):
        with tracer.request(experiment="e", variant=variant):
            pass
    tracer.close()
    counts = topics.read("assignments_topic", 2)
    assert {(count["experiment"], count["variant"]): count["count"] for count in counts} == {
        ("e", "v"): 2,
        ("e", "w"): 1,
    }
    assert {(count["service"], count["interval_s"]) for count in counts} == {("checkout", 10.0)}
    assert len({count["instance"] for count in counts}) == 1


def test_assignment_counts_come_while_no_request_has_ended(topics: Topics) -> None:
    tracer = Tracer(topics.bootstrap, service="checkout", assignments_every_s=0.3, **topics.names)  # type: ignore[arg-type]
    request = tracer.request(experiment="e", variant="hangs")
    with request:
        first, second, *_ = topics.read("assignments_topic", 2)
    assert [(count["variant"], count["count"]) for count in (first, second)] == [("hangs", 1), ("hangs", 1)]
    assert first["at"] < second["at"]
    tracer.close()


def test_a_missing_topic_is_counted_by_the_brokers_name_for_it(topics: Topics) -> None:
    tracer = Tracer(
        topics.bootstrap,
        service="checkout",
        topic="nowhere",
        assignments_topic=None,
        producer_config={"topic.metadata.propagation.max.ms": 0, "allow.auto.create.topics": False},
    )
    tracer.record()
    assert tracer.flush(30)
    tracer.close()
    assert tracer.stats.dropped == {"kafka: UNKNOWN_TOPIC_OR_PART": 1}


def test_a_record_above_the_brokers_limit_is_dropped_alone(topics: Topics) -> None:
    config = {"message.max.bytes": 2_000}
    tracer = Tracer(topics.bootstrap, service="checkout", producer_config=config, **topics.names)  # type: ignore[arg-type]
    tracer.record(output_text="word " * 1_000)
    tracer.record(output_text="word")
    tracer.close()
    assert tracer.stats.dropped == {"kafka: MSG_SIZE_TOO_LARGE": 1}
    assert tracer.stats.delivered == 1


SERVICE = """
import os, sys
from stoploss.emit import Tracer
tracer = Tracer({bootstrap!r}, service="forks", topic={topic!r}, assignments_topic=None, close_timeout_s=30)
tracer.record(unit_id="parent before")
child = os.fork()
tracer.record(unit_id="parent after" if child else "child")
if child:
    status = os.waitpid(child, 0)[1]
    sys.exit(os.waitstatus_to_exitcode(status))
assert tracer.stats.recorded == 1, tracer.stats
"""


def test_a_fork_sends_each_trace_once_and_both_processes_end_by_themselves(topics: Topics) -> None:
    script = SERVICE.format(bootstrap=topics.bootstrap, topic=topics.names["topic"])
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    traces = topics.read("topic", 3)
    assert sorted(trace["unit_id"] for trace in traces) == ["child", "parent after", "parent before"]


# Runs after the tracer's own hook. A thread that was joined may stand in /proc a moment longer; one that lives, stays.
COUNTING = """
import os, time
THREADS = []
def count():
    for _ in range(200):
        alive = len(os.listdir("/proc/self/task"))
        if alive == 2:
            break
        time.sleep(0.01)
    THREADS.append(alive)
os.register_at_fork(before=count)
"""
FORKS = """
from stoploss.emit import Tracer
tracer = Tracer({bootstrap!r}, service="forks", topic={topic!r}, assignments_topic=None, close_timeout_s=30)
for number in range(20):
    tracer.record(input_tokens=number)
    if os.fork() == 0:
        os._exit(0)
    os.wait()
assert THREADS == [2] * 20, THREADS
"""


COUNTS_THREADS = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="it counts them in Linux's /proc")


@COUNTS_THREADS
def test_no_thread_of_the_kafka_client_lives_while_a_service_forks_and_no_trace_is_lost_by_it(topics: Topics) -> None:
    script = FORKS.format(bootstrap=topics.bootstrap, topic=topics.names["topic"])
    subprocess.run([sys.executable, "-c", COUNTING + script], check=True, timeout=60)
    assert sorted(trace["input_tokens"] for trace in topics.read("topic", 20)) == list(range(20))


@COUNTS_THREADS
def test_a_fork_without_a_broker_needs_none_and_keeps_what_is_pending() -> None:
    script = """
from stoploss.emit import Tracer
tracer = Tracer("127.0.0.1:1", service="forks", assignments_topic=None, close_timeout_s=0.1)
tracer.record()
if os.fork() == 0:
    os._exit(0)
os.wait()
tracer.close()
assert THREADS == [2], THREADS
assert tracer.stats.dropped == {"not_delivered_at_close": 1}, tracer.stats
"""
    subprocess.run([sys.executable, "-c", COUNTING + script], check=True, timeout=60)


def test_what_is_pending_at_exit_is_delivered_without_a_word_from_the_service(topics: Topics) -> None:
    script = f"""
from stoploss.emit import Tracer
tracer = Tracer(
    {topics.bootstrap!r}, service="short", topic={topics.names["topic"]!r}, assignments_topic=None, close_timeout_s=30
)
for number in range(50):
    tracer.record(input_tokens=number)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert sorted(trace["input_tokens"] for trace in topics.read("topic", 50)) == list(range(50))
