"""deploy/secure: the real broker, started by its script, knows the users that `stoploss credentials` made."""

from __future__ import annotations

import re
import subprocess
import time

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from stoploss.acls import GRANTS, all_acls
from stoploss.cli import running
from stoploss.control.credentials import ADMIN, PASSWORD_SUFFIX, user_names
from stoploss.kafka import KafkaAddress, connection
from stoploss.settings import load

from .broker import SECURE, SecureKafka

pytestmark = pytest.mark.kafka

WAIT_S = 120.0


def as_of(kafka: SecureKafka, user: str, monkeypatch: pytest.MonkeyPatch) -> KafkaAddress:
    """The environment that a container of this user is given; and the address that stoploss reads from it."""
    file = kafka.credentials / f"{user}{PASSWORD_SUFFIX}"
    monkeypatch.setenv("STOPLOSS_KAFKA", str(kafka.bootstrap))
    monkeypatch.setenv("STOPLOSS_KAFKA_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("STOPLOSS_KAFKA_CA_FILE", str(kafka.ca_file))
    monkeypatch.setenv("STOPLOSS_KAFKA_USER", user)
    monkeypatch.setenv("STOPLOSS_KAFKA_PASSWORD_FILE", str(file))
    monkeypatch.setenv("STOPLOSS_LEDGER_PARTITIONS", "2")
    return load().need_kafka()


def gets_in(address: KafkaAddress) -> bool:
    """Whether the broker answers at all; what it then allows is another question. No is its own word."""
    told: list[KafkaError] = []
    client = AdminClient({**connection(address), "log_level": 0, "error_cb": told.append})
    deadline_s = time.monotonic() + WAIT_S
    while not any(error.code() == KafkaError._AUTHENTICATION for error in told):
        assert time.monotonic() < deadline_s, told
        try:
            client.list_topics(timeout=0.5)
        except KafkaException:
            client.poll(0.05)
        else:
            return True
    return False


def sent(address: KafkaAddress, topic: str) -> KafkaError | None:
    told: list[KafkaError | None] = []

    def tell(error: KafkaError | None, _: Message) -> None:
        told.append(error)

    producer = Producer({**connection(address), "log_level": 0})
    producer.produce(topic, b"x", on_delivery=tell)
    assert producer.flush(WAIT_S) == 0
    return told[0]


def test_the_administrator_makes_topics_and_acls_as_the_setup_container_does(
    secure_kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_of(secure_kafka, ADMIN, monkeypatch)
    running.topics(show=False, as_json=False)
    running.acls(show=False, as_json=False)
    assert f"allowed: {len(all_acls(load()))} ACLs of {len(GRANTS)} users" in capsys.readouterr().out


@pytest.mark.parametrize("user", user_names(load()))
def test_every_user_gets_in_with_the_password_of_its_file(
    secure_kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    assert gets_in(as_of(secure_kafka, user, monkeypatch))


@pytest.mark.parametrize("user", [ADMIN, "stoploss-default-judge", "nobody"])
def test_another_password_opens_nothing(secure_kafka: SecureKafka, user: str) -> None:
    assert not gets_in(secure_kafka.address(user, secure_kafka.password("stoploss-default-intake")))


def test_a_role_may_do_its_own_work_and_no_others(secure_kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    topics = load().topics
    service = as_of(secure_kafka, "stoploss-default-service", monkeypatch)
    assert sent(service, topics("traces")) is None
    for forbidden in ("control", "journal", "ledger"):
        refused = sent(service, topics(forbidden))
        assert refused is not None
        assert refused.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def documented(kafka: SecureKafka) -> str:
    """The command of docs/security.md that tells the broker a password, with the folders that the container has."""
    text = (SECURE.parents[1] / "docs" / "security.md").read_text()
    [command] = re.findall(r"exec kafka sh -c '(.+?)'", text, re.DOTALL)
    there = {
        "/opt/kafka/bin": kafka.tools,
        "kafka:19092": kafka.bootstrap,
        "/tmp": kafka.configuration,
        "/run/secrets": kafka.credentials,
    }
    return re.sub("|".join(there), lambda found: str(there[found[0]]), command)


def test_a_new_password_is_told_to_the_broker_as_the_document_says(secure_kafka: SecureKafka) -> None:
    user = "stoploss-default-judge"
    before = secure_kafka.password(user)
    (secure_kafka.credentials / f"{user}{PASSWORD_SUFFIX}").write_text("another")
    subprocess.run(["sh", "-c", documented(secure_kafka)], check=True, capture_output=True)
    assert gets_in(secure_kafka.address(user, "another"))
    assert not gets_in(secure_kafka.address(user, before))


def test_after_a_restart_the_users_are_still_known(secure_kafka: SecureKafka) -> None:
    """A container is started again with the storage that it has: the users are in it, and it is not made anew."""
    secure_kafka.stop()
    secure_kafka.start()
    user = "stoploss-default-judge"
    assert gets_in(secure_kafka.address(user, secure_kafka.password(user)))
    assert not gets_in(secure_kafka.address(user, "wrong"))


def test_a_password_is_left_in_the_files_of_a_file_system_in_memory_alone(secure_kafka: SecureKafka) -> None:
    """And there for its owner. Not on a command line, not in the log, not in the storage in readable form."""
    passwords = [secure_kafka.password(user) for user in user_names(load())]
    kept = {path.name for path in secure_kafka.configuration.iterdir()}
    assert kept == {"server.properties", "client.properties"}
    assert {path.stat().st_mode & 0o777 for path in secure_kafka.configuration.iterdir()} == {0o600}
    said = secure_kafka.log_path.read_text() + command_line(secure_kafka.pid)
    stored = b"".join(path.read_bytes() for path in (secure_kafka.directory / "data").rglob("*.log"))
    for password in passwords:
        assert password not in said
        assert password.encode() not in stored


def command_line(pid: int) -> str:
    listed = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True)
    assert "kafka.Kafka" in listed.stdout
    return listed.stdout


def test_the_script_is_one_that_any_shell_can_read() -> None:
    script = SECURE / "start.sh"
    assert script.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(script)], check=True)
