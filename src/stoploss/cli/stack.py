"""Everything that `stoploss up` and `stoploss demo` run: embedded parts where no address is given, topics, keys, roles.

Roles are processes of their own. Each is held by a pipe: when this process is gone, however it went, they end. A role
that ends by itself is started again, for that is how a worker answers what it cannot go on with.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from stoploss.cli.addresses import require_listener
from stoploss.cli.console import address_of, is_installed, listen
from stoploss.control.keys import create_break_glass_keys, create_keys, load_or_create_secret
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.errors import ConfigurationError
from stoploss.settings import Settings, load
from streams.admin import Admin

ROLES = ("intake", "joiner", "resolver", "registrar", "judge", "courier", "recorder")
RETAINED_EVERY = "10m"
"""An incident that is opened suspends deletion no later than this."""
STOP_S = 15.0
RESTART_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
LAST_PORT = 65_535
STEADY_S = 60.0
"""A role that ran for so long is taken to be well: the next end is its first again."""
Say = Callable[[str], None]


@dataclass(slots=True)
class Role:
    """One process: what it runs, where it logs, and when it began or, while none runs, is to begin again.

    health_port  where it answers probes; None: nowhere
    """

    name: str
    arguments: tuple[str, ...]
    log: Path
    health_port: int | None = None
    process: subprocess.Popen[bytes] | None = None
    began_s: float = 0.0
    due_s: float = 0.0
    pause_s: float = 0.0

    def release(self) -> None:
        """The process is gone: so is the pipe that held it."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None

    def ended(self, code: int, now_s: float) -> str:
        """Its next start, later each time that it ends soon; the sentence about it."""
        was_steady = now_s - self.began_s >= STEADY_S
        self.pause_s = RESTART_PAUSE_S if was_steady else min(LONGEST_PAUSE_S, max(RESTART_PAUSE_S, 2 * self.pause_s))
        self.release()
        self.due_s = now_s + self.pause_s
        return f"{self.name} {_how(code)}, is started again in {self.pause_s:.0f} s; its log: {self.log}"


@dataclass(slots=True)
class Stack:
    """Start it with `with`; `watch` keeps it running."""

    settings: Settings
    say: Say
    roles: tuple[tuple[str, ...], ...] = tuple((role,) for role in ROLES)
    controller: bool = True
    console: bool = False
    retention: bool = False
    console_address: str | None = None
    _kafka: EmbeddedKafka | None = None
    _clickhouse: EmbeddedClickHouse | None = None
    processes: list[Role] = field(default_factory=list)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        home = self.settings.home
        home.mkdir(parents=True, exist_ok=True)
        if self.settings.kafka:
            require_listener(self.settings.kafka)
        else:
            self.say("starting Apache Kafka (the first time its jars are fetched)")
            self._kafka = EmbeddedKafka(home / "kafka").start()
        if not self.settings.clickhouse_url:
            self.say("starting the ClickHouse engine")
            self._clickhouse = EmbeddedClickHouse(home / "clickhouse").start()
        self.settings = self._as_found(self._with_addresses())
        made = Admin(self.settings.need_kafka()).create(self.settings)
        self.say(f"topics: {len(made)} created" if made else "topics: all there")
        if not (self.settings.keys / "monitor.key").exists():
            create_keys(self.settings.keys)
        if not (self.settings.keys / "break-glass.pub").exists():
            create_break_glass_keys(self.settings.keys)
        load_or_create_secret(self.settings.keys / "secret.key")
        for group in self.roles:
            self._run("+".join(group), ("worker", *group), self._next_health_port())
        if self.controller:
            self._run("controller", ("controller", "--file", str(self.flag_file)), self._next_health_port())
        if self.retention:
            self._run("retention", ("retention", "--every", RETAINED_EVERY))
        if self.console and is_installed():
            self._run_console()
        self.say(f"roles: {', '.join(role.name for role in self.processes)}")

    def _run_console(self) -> None:
        """On a port that is free now, so that its address can be told."""
        with listen(self.settings.console_host, self.settings.console_port) as listening:
            host, port = listening.getsockname()[:2]
            self.console_address = address_of(listening)
        self._run("console", ("console", "--host", host, "--port", str(port)))

    @property
    def flag_file(self) -> Path:
        return self.settings.flagd_file or self.settings.home / "flags.json"

    @property
    def logs(self) -> Path:
        return self.settings.home / "logs"

    def _with_addresses(self) -> Settings:
        return load(
            **{
                **self.settings.model_dump(),
                "kafka": self._kafka.bootstrap if self._kafka else self.settings.kafka,
                "clickhouse_url": self._clickhouse.url if self._clickhouse else self.settings.clickhouse_url,
            }
        )

    def _as_found(self, settings: Settings) -> Settings:
        """With the partitions that topics have already, where nobody asked for others: a demo's data have fewer."""
        if "ledger_partitions" in self.settings.model_fields_set:
            return settings
        found = Admin(settings.need_kafka()).existing().get(settings.topics("ledger"), settings.ledger_partitions)
        return settings.model_copy(update={"ledger_partitions": found})

    def _next_health_port(self) -> int | None:
        """The port that was asked for, then those behind it: two processes cannot share one."""
        first = self.settings.health_port
        if not first:
            return first
        port = first + len(self.processes)
        if port > LAST_PORT:
            raise ConfigurationError(
                f"STOPLOSS_HEALTH_PORT={first} leaves no port for process {len(self.processes) + 1}: "
                "each takes the next; give a lower one"
            )
        return port

    def _run(self, name: str, arguments: Sequence[str], health_port: int | None = None) -> None:
        self.logs.mkdir(exist_ok=True)
        role = Role(name, tuple(arguments), self.logs / f"{name}.log", health_port)
        self._spawn(role)
        self.processes.append(role)

    def _spawn(self, role: Role) -> None:
        own = self.settings.model_copy(update={"health_port": role.health_port})
        with role.log.open("ab") as log:
            role.process = subprocess.Popen(
                [sys.executable, "-m", "stoploss", *role.arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment(own), "STOPLOSS_OWNED": "1"},
                start_new_session=True,
            )
        role.began_s = time.monotonic()

    def watch(self) -> list[str]:
        """Starts again what has ended; gives a sentence for each that has."""
        said, now_s = [], time.monotonic()
        for role in self.processes:
            if role.process is None:
                if now_s >= role.due_s:
                    self._spawn(role)
            elif (code := role.process.poll()) is not None:
                said.append(role.ended(code, now_s))
        return said

    def stop(self) -> None:
        """Ends the roles, then the parts they stand on."""
        alive = [role.process for role in self.processes if role.process is not None]
        for process in alive:
            process.terminate()
        deadline_s = time.monotonic() + STOP_S
        for process in alive:
            try:
                process.wait(max(0.1, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for role in self.processes:
            role.release()
        self.processes = []
        for part in (self._clickhouse, self._kafka):
            if part is not None:
                part.stop()
        self._kafka = self._clickhouse = None


def _how(code: int) -> str:
    """
    >>> _how(70), _how(-9)
    ('ended with exit code 70', 'was ended by SIGKILL')
    """
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def environment(settings: Settings) -> dict[str, str]:
    """Settings as the environment variables of a child."""
    values = settings.model_dump(exclude_none=True)
    return {f"STOPLOSS_{name.upper()}": _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    """A secret travels in the environment of a child, and nowhere else. Lists and objects are JSON there."""
    if isinstance(value, list | dict):
        return json.dumps(value)
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def end_with_parent() -> None:
    """A child that `Stack` started ends when the pipe to its parent breaks, however the parent went."""
    if os.environ.get("STOPLOSS_OWNED") != "1":
        return

    def wait() -> None:
        while os.read(0, 1):
            continue
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_S)
        os._exit(70)

    threading.Thread(target=wait, name="parent", daemon=True).start()
