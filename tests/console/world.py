"""A console on a running installation: one experiment that a gate stopped, one that runs, one that waits, one past."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from clickhouse_connect.driver.client import Client

from stoploss.cli.console import address_of, listen
from stoploss.console.app import build
from stoploss.console.parts import Console
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.flags import FlagReader
from stoploss.journal import ExposuresCounted
from stoploss.resources import data_path
from stoploss.settings import Settings
from stoploss.store import inserts, queries
from stoploss.store.client import connect
from stoploss.store.schema import migrate
from tests.installation import Installation, Kafka, appending, installed, journal_of, registry_of
from tests.review import stories

LEAKED, RUNNING, WAITING, PAST = "support-agent-prompt", "answer-style-aa", "checkout-agent-model", stories.EXPERIMENT
TWIN = "answer-style-twin"  # as RUNNING is, and for one test alone to stop; somebody owes a look at a baseline
OWED = "\n  baselines: [{item: price of tokens, taken: 2026-01-10, recheckWithin: 30d, source: the list}]\n"
LEAKING_ARM = "v8"
CARD = "4111 1111 1111 1111"
PERSON = "ada"
ELSEWHERE = 7  # a ledger partition that the installation does not have: the past story's entries are not its own


@dataclass(frozen=True, slots=True)
class Served:
    """A console at its address, and the installation that it shows."""

    installation: Installation
    console: Console
    address: str

    @property
    def settings(self) -> Settings:
        return self.installation.settings

    def link(self, person: str = PERSON) -> str:
        return self.console.sessions.link(self.address, person)

    def lifecycle(self, experiment: str) -> str | None:
        entry = registry_of(self.settings, experiment)
        return entry.lifecycle if entry else None


@dataclass(frozen=True, slots=True)
class World(Served):
    client: Client


@contextmanager
def living(kafka: Kafka, clickhouse: EmbeddedClickHouse, home: Path) -> Iterator[World]:
    with installed(kafka, home, clickhouse_url=clickhouse.url) as installation:
        settings = installation.settings
        with closing(connect(clickhouse.url, database=settings.clickhouse_database)) as client:
            migrate(client)
            _past(settings, client)
            installation.worker("intake", "joiner", "registrar", "judge", "courier", "recorder")
            installation.controller()
            _happened(installation)
            installation.wait(lambda: _is_stored(settings, client))
            console = Console.of(settings)
            with served(console) as address:
                yield World(installation, console, address, client)
        installation.stop()


@contextmanager
def served(console: Console) -> Iterator[str]:
    """By the real server, on a port of its own."""
    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(build(console), log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield address_of(listening)
        finally:
            console.listeners.closing.set()
            server.should_exit = True
            thread.join(10)


def _past(settings: Settings, client: Client) -> None:
    """What the real judge made of a treatment that became slow; and its place in the registry."""
    streams = stories.streams_of(stories.slowed(), ELSEWHERE)
    for stream, found in streams.items():
        inserts.insert(client, inserts.encode(stream, found))
    appender = appending(settings)
    appender.append(settings.topics("registry"), streams["registry"][-1].value, key=PAST.encode(), partition=0)
    appender.flush()


def _happened(installation: Installation) -> None:
    specs = {name: data_path("examples", "demo", f"{name}.yaml").read_text() for name in (LEAKED, RUNNING)}
    specs[TWIN] = specs[RUNNING].replace(RUNNING, TWIN) + OWED
    for name in (RUNNING, TWIN):  # nobody sends them a trace, however long the tests take
        specs[name] = specs[name].replace("silence: {after: 10m", "silence: {after: 10h")
    for name, spec in specs.items():
        installation.ask("register", name, spec=spec)
        installation.ask("start", name, exposure=0.5)
    installation.ask("register", WAITING, spec=data_path("examples", f"{WAITING}.yaml").read_text())
    with closing(FlagReader(installation.flag_file)) as flags:
        installation.wait(lambda: all(flags.assign(name, "", "u").run == 1 for name in (LEAKED, RUNNING)))
        _send(installation.settings, b'{"trace_id": "<img src=x onerror=alert(1)>')
        numbers = iter(range(1_000_000))

        def is_judged() -> bool:
            """The registry's news reach intake a moment after the flags."""
            _traffic(installation.settings, flags, [next(numbers) for _ in range(60)])
            return any(entry.conclusion.__class__.__name__ == "EpochOpened" for entry in _journal(installation))

        installation.wait(is_judged)
        unit = next(f"user-{n}" for n in range(1_000) if flags.assign(LEAKED, "", f"user-{n}").variant == LEAKING_ARM)
        leak = _trace(flags, "leak", unit) | {"output_text": f"I have charged {CARD} as you asked."}
        _send(installation.settings, json.dumps(leak).encode())
    installation.wait(lambda: any(isinstance(e.conclusion, ExposuresCounted) for e in _journal(installation)))


def _journal(installation: Installation) -> list:
    return journal_of(installation.settings, LEAKED)


def _traffic(settings: Settings, flags: FlagReader, numbers: list[int]) -> None:
    for number in numbers:
        _send(settings, json.dumps(_trace(flags, f"trace-{number}", f"user-{number}")).encode())


def _trace(flags: FlagReader, trace_id: str, unit_id: str) -> dict[str, object]:
    assignments = [
        {"experiment": name, "variant": found.variant, "run": found.run, "epoch": found.epoch}
        for name in (LEAKED, RUNNING)
        for found in (flags.assign(name, "", unit_id),)
    ]
    at = time.time_ns() // 1_000
    return {"trace_id": trace_id, "at": at, "unit_id": unit_id, "tenant": "acme", "language": "en", "latency_ms": 700.0,
            "assignments": assignments}  # fmt: skip


def _send(settings: Settings, value: bytes) -> None:
    appender = appending(settings)
    appender.append(settings.topics("traces"), value)
    appender.flush()


def _is_stored(settings: Settings, client: Client) -> bool:
    """The recorder has what the pages are asked for."""
    names = (LEAKED, RUNNING, WAITING)
    told = all(len(queries.timeline(client, name)) >= len(journal_of(settings, name)) for name in names)
    return told and bool(queries.commands(client, LEAKED)) and bool(queries.dead_letters(client))
