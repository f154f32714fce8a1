"""An installation on the session's Kafka: topics of its own, keys, role processes, and what stands on the topics."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from stoploss import journal, ledger, registry
from stoploss.cli import asking
from stoploss.cli.stack import environment
from stoploss.control.keys import create_keys, load_or_create_secret
from stoploss.control.messages import Headers
from stoploss.intake import dead_letters
from stoploss.intake.dead_letters import DeadLetter
from stoploss.journal import JournalEntry, RequestHandled
from stoploss.ledger import Fact
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings, load
from stoploss.signing import Signer, Verifier
from stoploss.topics import TOPICS
from streams.admin import Admin, partitions_of
from streams.appender import Appender
from streams.batches import Record
from streams.partition_judge import Keys
from streams.reading import partitions_from_start, reader, whole
from tests.markers import wait_for_markers

PATIENCE_S = 60.0
POLL_S = 0.05
T = TypeVar("T")
BEGINS = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}


class Kafka(Protocol):
    @property
    def bootstrap(self) -> str: ...


def settings_of(kafka: Kafka, home: Path, **more: object) -> Settings:
    """Settings of an installation whose topics, groups, transactional ids and database nobody else uses."""
    name = f"t{uuid.uuid4().hex[:10]}"
    names = {"topic_prefix": f"{name}.", "installation": name, "clickhouse_database": name}
    small = {"ledger_partitions": 2, "source_partitions": 2}
    return load(**{"kafka": kafka.bootstrap, "home": home, **names, **small, **more})


def create_topics(settings: Settings, *names: str, **config: str) -> None:
    """Some of the installation's topics alone, each with further settings; all of them: `Admin.create`."""
    admin = AdminClient({"bootstrap.servers": settings.need_kafka()})
    wanted = [
        NewTopic(
            settings.topics(name),
            partitions_of(TOPICS[name], settings),
            1,
            config={**TOPICS[name].config(), **{key.replace("_", "."): value for key, value in config.items()}},
        )
        for name in names
    ]
    for future in admin.create_topics(wanted).values():
        future.result()
    while not {settings.topics(name) for name in names} <= admin.list_topics(timeout=PATIENCE_S).topics.keys():
        time.sleep(POLL_S)


def create_installation_keys(settings: Settings) -> Keys:
    create_keys(settings.keys)
    return installation_keys(settings)


def installation_keys(settings: Settings) -> Keys:
    return Keys(Signer.load(settings.keys / "monitor.key"), load_or_create_secret(settings.keys / "secret.key"))


# ---- what stands on the topics -------------------------------------------------------------------


def messages(settings: Settings, name: str, partition: int | None = None) -> list[Message]:
    """Every record of a topic that is committed by now, in the order of each partition."""
    wait_for_markers(settings.need_kafka(), settings.topics(name))
    return list(whole(settings.need_kafka(), settings.topics(name), partition))


def values(settings: Settings, name: str, partition: int | None = None) -> list[bytes]:
    return [message.value() or b"" for message in messages(settings, name, partition)]


def keys_of(settings: Settings, name: str) -> set[bytes]:
    return {bytes(message.key() or b"") for message in messages(settings, name)}


def consumed(settings: Settings, name: str, partition: int) -> list[Record]:
    """The same as the batch transport hands them to agents."""
    return [Record.of(message) for message in messages(settings, name, partition)]


def headers_of(message: Message) -> Headers:
    return cast("Headers", message.headers() or [])


def appending(settings: Settings) -> Appender:
    """One for all tests: an idempotent producer takes half a second until its first record is on the broker."""
    return _appender(settings.need_kafka())


@cache
def _appender(bootstrap: str) -> Appender:
    return Appender(bootstrap, linger_ms=0)


def append_facts(settings: Settings, partition: int, facts: Iterable[Fact | bytes]) -> None:
    """Facts, or bytes that are none, at the end of a ledger partition."""
    appender = appending(settings)
    for fact in facts:
        value = fact if isinstance(fact, bytes) else ledger.encode(fact)
        appender.append(settings.topics("ledger"), value, partition=partition)
    appender.flush()


def facts_of(settings: Settings, partition: int | None = None) -> list[Fact]:
    return [ledger.decode(value) for value in values(settings, "ledger", partition)]


def letters_of(settings: Settings) -> list[DeadLetter]:
    return [dead_letters.decode(value) for value in values(settings, "deadletter")]


def journal_of(settings: Settings, experiment: str) -> list[JournalEntry]:
    return [entry for entry in map(journal.decode, values(settings, "journal")) if entry.experiment == experiment]


def registry_of(settings: Settings, experiment: str) -> RegistryEntry | None:
    """The last one written; None where there is none yet."""
    entries = [registry.decode(value) for value in values(settings, "registry")]
    return next((entry for entry in reversed(entries) if entry.experiment == experiment), None)


class Tail:
    """Reads a topic from its beginning, further at each call: for conditions that are asked again and again."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._consumer = reader(settings.need_kafka())
        self._consumer.assign(partitions_from_start(self._consumer, settings.topics(name)))
        self._seen: list[Message] = []

    def seen(self) -> list[Message]:
        """All records so far."""
        while (message := self._consumer.poll(POLL_S)) is not None:
            if message.error() is not None:
                raise KafkaException(message.error())
            self._seen.append(message)
        return self._seen

    def values(self) -> list[bytes]:
        return [message.value() or b"" for message in self.seen()]

    def close(self) -> None:
        self._consumer.close()


# ---- processes -----------------------------------------------------------------------------------


class Role:
    """A `python -m stoploss …` process; it ends when the process that started it is gone.

    code  a tree of its own with `src`, `streams` and `schemas`; None: the code that is tested
    """

    def __init__(self, settings: Settings, arguments: tuple[str, ...], log: Path, code: Path | None = None) -> None:
        self.arguments, self.log = arguments, log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stoploss", *arguments],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env={**os.environ, **environment(settings), **running_code(code), "STOPLOSS_OWNED": "1"},
                cwd=code,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """At once; nothing happens to one that has ended already."""
        self.process.kill()
        self._release()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def exit_code(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._release()
        return code

    def _release(self) -> None:
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


def running_code(tree: Path | None) -> dict[str, str]:
    """The environment in which `python -m stoploss` is the code of a tree, if its working directory is the tree."""
    return {} if tree is None else {"PYTHONPATH": os.pathsep.join([str(tree / "src"), str(tree)])}


@dataclass(slots=True)
class Installation:
    """Topics and keys are there when it is made; roles are started by the test."""

    settings: Settings
    keys: Keys
    roles: list[Role] = field(default_factory=list)

    @property
    def verifier(self) -> Verifier:
        return Verifier.load(self.settings.keys / "monitor.pub")

    @property
    def flag_file(self) -> Path:
        return self.settings.home / "flags.json"

    def worker(self, *names: str, code: Path | None = None) -> Role:
        return self._start("+".join(names), ("worker", *names), code)

    def controller(self) -> Role:
        return self._start("controller", ("controller", "--file", str(self.flag_file)))

    def _start(self, name: str, arguments: tuple[str, ...], code: Path | None = None) -> Role:
        role = Role(self.settings, arguments, self.settings.home / f"{name}-{len(self.roles)}.log", code)
        self.roles.append(role)
        return role

    def ask(
        self, action: str, experiment: str, *, spec: str | None = None, exposure: float | None = None
    ) -> RequestHandled:
        """Asks as people do, and gives the judge's last word; raises RequestRefused with it where it is a no."""
        request = asking.request_of(action, experiment, "asked by a test", spec=spec, exposure=exposure)
        return asking.send(self.settings, request)

    def wait(self, until: Callable[[], object], *, timeout_s: float = PATIENCE_S) -> None:
        """Fails where the condition does not come true, or a role has ended that nobody stopped."""
        deadline_s = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not within {timeout_s:.0f} s; {self._last_words()}")
            time.sleep(POLL_S)

    def _last_words(self) -> str:
        return "\n".join(f"--- {' '.join(role.arguments)}:\n{role.said[-3_000:]}" for role in self.roles[-6:])

    def stop(self) -> None:
        """All roles end as a supervisor ends them."""
        running = [role for role in self.roles if role.running]
        for role in running:
            role.process.send_signal(signal.SIGTERM)
        for role in running:
            role.exit_code()

    def close(self) -> None:
        """Nothing is left, whatever happened."""
        for role in self.roles:
            role.kill()


@contextmanager
def installed(kafka: Kafka, home: Path, **more: object) -> Iterator[Installation]:
    settings = settings_of(kafka, home, **more)
    Admin(settings.need_kafka()).create(settings)
    installation = Installation(settings, create_installation_keys(settings))
    try:
        yield installation
    finally:
        installation.close()


def committed(settings: Settings, role: str, topic: str) -> dict[int, int]:
    """How far a role's consumer group has committed each partition of a topic; -1001: not at all."""
    name = settings.topics(topic)
    observer = Consumer({"bootstrap.servers": settings.need_kafka(), "group.id": group_of(settings, role)})
    try:
        partitions = partitions_of(TOPICS[topic], settings)
        wanted = [TopicPartition(name, partition) for partition in range(partitions)]
        return {found.partition: found.offset for found in _asked_again(lambda: observer.committed(wanted, PATIENCE_S))}
    finally:
        observer.close()


def _asked_again(ask: Callable[[], T]) -> T:
    """A broker that has just begun does not know yet what it coordinates: it says so, and is asked again."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in BEGINS or time.monotonic() > deadline_s:
                raise
            time.sleep(POLL_S)


def group_of(settings: Settings, role: str) -> str:
    return f"stoploss-{settings.installation}-{role}"
