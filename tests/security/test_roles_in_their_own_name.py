"""P6: every role runs as a user of its own, over TLS, with no more than its line of the table; no log has a secret."""

from __future__ import annotations

import json
import re
import secrets
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest

from stoploss.acls import GRANTS
from stoploss.cli import asking
from stoploss.cli.stack import environment
from stoploss.control.alert_routes import TARGETS, read_routes
from stoploss.control.credentials import ADMIN
from stoploss.control.keys import create_break_glass_keys
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.ports import LOOPBACK, free_port
from stoploss.emit import Tracer
from stoploss.ledger import SourceStatus
from stoploss.settings import Settings, load
from stoploss.store.client import connect
from stoploss.topics import DAY_MS, TOPICS
from streams.admin import Admin
from streams.appender import Appender
from streams.otlp import ROLE as OTLP
from tests.control.receiver import receiving
from tests.control.test_break_glass_command import CONTROLLED, NAME, stoploss
from tests.installation import (
    Installation,
    Role,
    create_installation_keys,
    facts_of,
    letters_of,
    registry_of,
    settings_of,
    values,
)
from tests.otlp.telling import CHAT, EVALUATED, Telling, event
from tests.otlp.test_role import now

from .broker import SecureKafka
from .planted import Planted, of_keys, that_hold_secrets, written_as

pytestmark = pytest.mark.kafka

ROLES = ("intake", "joiner", "resolver", "registrar", "judge", "courier", "recorder", OTLP)
STARTED_WITHIN_S = 240.0
CARD = "4111 1111 1111 1111"


@dataclass
class World:
    """An installation whose processes each know one password only: their own."""

    installation: Installation
    kafka: SecureKafka
    planted: Planted
    passwords: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def settings(self, user: str) -> Settings:
        """The password stands in a file, as a secret store mounts it."""
        admin = self.installation.settings
        file = admin.home / f"{user}.password"
        name = f"stoploss-{admin.installation}-{user}"
        if user not in self.passwords:
            self.passwords[user] = secrets.token_hex(16)
            file.write_text(self.passwords[user] + "\n")
            self.kafka.add_user(name, self.passwords[user])
        return load(
            **{
                **admin.model_dump(),
                "kafka_user": name,
                "kafka_password": None,
                "kafka_password_file": file,
                "health_port": self.ports.get(user),
                **self.planted.of(user),
            }
        )

    def run(self, user: str, *arguments: str) -> None:
        self.installation.roles.append(Role(self.settings(user), arguments, self.log(user)))

    def log(self, user: str) -> Path:
        return self.installation.settings.home / f"{user}.log"

    def says(self, user: str, pattern: str) -> bool:
        return re.search(pattern, self.log(user).read_text()) is not None

    def command(self, user: str, *arguments: str) -> str:
        """What a command has printed that a person runs under this user; a log has it, too."""
        ended = stoploss(Installation(self.settings(user), self.installation.keys), *arguments)
        self.log(user).write_text(ended.stdout + ended.stderr)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def ask(self, action: str, spec: str | None = None) -> None:
        asking.send(self.settings("person"), asking.request_of(action, NAME, "asked by a test", spec=spec))


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    """Where alerts go and schemas are asked for; it takes none and knows none, so that logs speak of it."""
    with receiving() as receiver:
        receiver.answers = [403] * 10_000
        yield receiver.url


@pytest.fixture(scope="module")
def world(
    secure_kafka: SecureKafka,
    clickhouse: EmbeddedClickHouse,
    refusing: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    home = tmp_path_factory.mktemp("own-names")
    planted = Planted(home, refusing, clickhouse.url)
    more = {**planted.of_everybody(), "log_level": "DEBUG", **secure_kafka.admin_settings}
    settings = settings_of(secure_kafka, home, **more)
    installation = Installation(settings, create_installation_keys(settings))
    create_break_glass_keys(settings.keys)
    made = World(installation, secure_kafka, planted)
    try:
        for arguments in (("topics",), ("topics", "--acls"), ("tables",)):
            ended = stoploss(installation, *arguments)
            assert ended.returncode == 0, ended.stderr
        for role in ROLES:
            made.ports[role] = free_port()
            made.run(role, "worker", role)
        made.run("controller", "controller", "--file", str(installation.flag_file))
        installation.wait(lambda: all(map(is_ready, made.ports.values())), timeout_s=STARTED_WITHIN_S)
        yield made
    finally:
        installation.close()


def is_ready(port: int) -> bool:
    """Whether the worker behind this port has its partitions: it asked the brokers for them in its own name."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=5.0) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def lifecycle(world: World) -> str:
    entry = registry_of(world.installation.settings, NAME)
    return entry.lifecycle if entry else ""


def test_from_a_harmful_trace_to_the_flag_file_in_their_own_names(world: World) -> None:
    """Registered and started by a person, traced by a service, stopped by the judge, obeyed, recorded."""
    world.ask("register", CONTROLLED)
    world.ask("start")
    flags = world.installation.flag_file
    world.installation.wait(lambda: flags.exists() and "targeting" in flags.read_text())
    leak(world)
    world.installation.wait(lambda: lifecycle(world) == "stopped")
    world.installation.wait(lambda: "targeting" not in json.loads(flags.read_text())["flags"][NAME])
    await_stored(world, "SELECT count() FROM acks_v WHERE experiment = 'checkout' AND status = 'applied'", 2)


def await_stored(world: World, count: str, least: int) -> None:
    settings = world.installation.settings
    client = connect(settings.need_clickhouse(), database=settings.clickhouse_database)
    world.installation.wait(lambda: client.query(count).result_rows[0][0] >= least)
    client.close()


def leak(world: World) -> None:
    settings = world.settings("service")
    names = settings.topics
    tracer = Tracer(
        settings.need_kafka(),
        service="checkout",
        topic=names("traces"),
        outcomes_topic=names("outcomes"),
        assignments_topic=names("assignments"),
    )
    with tracer.request(experiment=NAME, variant="small", unit_id="ada") as request:
        request.set(output_text=f"the card is {CARD}")
    tracer.close()
    assert tracer.stats.delivered >= 1


def test_a_bare_outcome_is_given_its_context_in_their_own_names(world: World) -> None:
    """Written by a service, looked up and given back by the resolver in a transaction with its place."""
    trace_id = {"trace_id": "of-a-bare-outcome", "at": time.time_ns() // 1_000}
    send(world, "service", "traces", {**trace_id, "assignments": [{"experiment": NAME, "variant": "small"}]})
    await_stored(world, "SELECT count() FROM traces WHERE trace_id = 'of-a-bare-outcome'", 1)
    send(world, "service", "outcomes", {**trace_id, "kind": "score", "name": "helpfulness", "value": 1.0})
    given_back = partial(values, world.installation.settings, "outcomes_resolved")
    world.installation.wait(given_back)
    assert any(NAME.encode() in value for value in given_back())


def send(world: World, user: str, topic: str, record: bytes | dict[str, object]) -> None:
    settings = world.settings(user)
    appender = Appender(settings.need_kafka())
    appender.append(settings.topics(topic), record if isinstance(record, bytes) else json.dumps(record).encode())
    appender.flush()


def test_spans_become_a_trace_and_what_is_none_a_dead_letter_in_their_own_names(world: World) -> None:
    """A Collector's user writes spans; `otlp` reads them, and writes traces, dead letters and how far it is."""
    told, trace_id = Telling(), b"of-a-collector.."
    span = told.span("chat", CHAT, trace_id=trace_id)
    event(span, "feature_flag.evaluation", {**EVALUATED, "feature_flag.key": NAME, "feature_flag.version": "1.1"})
    send(world, "collector", "otlp_spans", now(told.request, trace_id))
    send(world, "collector", "otlp_spans", b"\x0a\xff")
    await_stored(world, f"SELECT count() FROM traces WHERE trace_id = '{trace_id.hex()}'", 1)
    settings = world.installation.settings
    world.installation.wait(lambda: any(letter.stage == OTLP for letter in letters_of(settings)))
    world.installation.wait(lambda: settings.topics("otlp_spans") in _sources(settings))


def _sources(settings: Settings) -> set[str]:
    return {fact.source.topic for fact in facts_of(settings) if isinstance(fact, SourceStatus)}


def test_people_break_the_glass_in_their_own_name(world: World) -> None:
    world.command("break-glass", "break-glass", NAME, "--to", "control", "-m", "just in case")


def test_retention_is_said_to_topics_in_its_own_name(world: World) -> None:
    """P3: of topics that hold ids, and of no other."""
    settings = world.installation.settings
    admin = Admin(settings.need_kafka())
    admin.keep_for(settings.topics("traces"), 9 * DAY_MS)
    assert settings.topics("traces") in world.command("retention", "retention")
    assert admin.configs(settings.topics("traces"))["retention.ms"] == str(TOPICS["traces"].retention_ms)


def test_people_ask_with_a_key_of_their_own(world: World) -> None:
    assert json.loads(world.command("person", "note", NAME, "-m", "seen", "--json"))


def test_a_registry_that_refuses_is_told_of(world: World) -> None:
    """Confluent's framing names a schema that only a registry knows."""
    for user, topic in (("intake", "traces"), ("joiner", "outcomes")):
        send(world, "service", topic, b"\x00\x00\x00\x00\x07nobody knows")
        world.installation.wait(partial(world.says, user, "the schema registry cannot be asked"))


def test_receivers_of_alerts_that_refuse_are_told_of(world: World) -> None:
    for reason in (r"http://127.0.0.1:\d+ answered 403", "apprise could not tell"):
        world.installation.wait(partial(world.says, "courier", f"alerts not delivered.*{reason}"))


def test_every_setting_that_holds_a_secret_holds_a_planted_one(world: World) -> None:
    given = {name for name in Settings.model_fields if getattr(world.installation.settings, name) is not None}
    given |= {name for user in (*ROLES, "person") for name in world.planted.of(user)} | {"kafka_password_file"}
    assert that_hold_secrets() <= given
    routes = read_routes(world.planted.home / "alerts.yaml")
    assert {target for route in routes for target in TARGETS if getattr(route, target) is not None} == set(TARGETS)


def test_no_log_of_any_role_has_a_secret(world: World) -> None:
    """Neither what it was given nor what it read from a file, in whatever form, at DEBUG, after much went wrong."""
    home = world.installation.settings.home
    passwords = {**world.passwords, ADMIN: str(world.kafka.admin_settings["kafka_password"]), **world.planted.values}
    held = {name: text.encode() for name, text in passwords.items()} | of_keys(home)
    assert {"monitor.key", "break-glass.key", "secret.key", "ada.key"} <= set(held)
    logs = {path.name: path.read_bytes() for path in home.glob("*.log")}
    assert set(logs) == {f"{user}.log" for user in (*ROLES, "controller", "break-glass", "retention", "person")}
    assert found_in(logs, held) == []


@pytest.mark.parametrize("form", ["p@ss\xf6", "p%40ss%F6", "70407373f6", "cEBzc/Y=", "cEBzc_Y", "b'p@ss\\xf6'"])
def test_a_secret_in_a_log_is_found_in_any_form(form: str) -> None:
    said = {"a.log": f"reason='{form}'".encode("latin-1")}
    assert found_in(said, {"it": b"p@ss\xf6"}) == [("a.log", "it")]


def found_in(logs: Mapping[str, bytes], held: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """(log, name of a secret that stands in it)"""
    forms = [(name, form) for name, secret in held.items() for form in written_as(secret)]
    return [(log, name) for log, said in logs.items() for name, form in forms if form in said]


def test_a_child_is_given_the_secret_and_nobody_else_sees_it(tmp_path: Path) -> None:
    settings = load(kafka="broker:9092", kafka_password="hunter2", home=tmp_path)
    assert environment(settings)["STOPLOSS_KAFKA_PASSWORD"] == "hunter2"
    assert "hunter2" not in repr(settings)


def test_every_role_has_its_line() -> None:
    others = {"collector", "controller", "service", "person", "deadletter", "break-glass", "retention"}
    assert set(ROLES) | others == set(GRANTS)
