"""Everything that `stoploss up` and `stoploss demo` run: embedded parts where no address is given, topics, keys, roles.

Roles are processes of their own. Each is held by a pipe: when this process is gone, however it went, they end. A role
that ends by itself is started again, for that is how a worker answers what it cannot go on with.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from stoploss.control.keys import create_keys, load_or_create_secret
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.settings import Settings, load
from streams.admin import Admin

ROLES = ("intake", "joiner", "registrar", "judge", "courier", "recorder")
STOP_S = 15.0
RESTART_PAUSE_S = 1.0
Say = Callable[[str], None]


@dataclass(slots=True)
class Role:
    """One process: what it runs, where it logs, and how often it was started again."""

    name: str
    arguments: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    ended_at_s: float = 0.0


@dataclass(slots=True)
class Stack:
    """Start it with `with`; `watch` keeps it running."""

    settings: Settings
    say: Say
    roles: tuple[tuple[str, ...], ...] = tuple((role,) for role in ROLES)
    controller: bool = True
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
        if not self.settings.kafka:
            self.say("starting Apache Kafka (the first time its jars are fetched)")
            self._kafka = EmbeddedKafka(home / "kafka").start()
        if not self.settings.clickhouse_url:
            self.say("starting the ClickHouse engine")
            self._clickhouse = EmbeddedClickHouse(home / "clickhouse").start()
        self.settings = self._with_addresses()
        made = Admin(self.settings.need_kafka()).create(self.settings)
        self.say(f"topics: {len(made)} created" if made else "topics: all there")
        if not (self.settings.keys / "monitor.key").exists():
            create_keys(self.settings.keys)
        load_or_create_secret(self.settings.keys / "secret.key")
        for group in self.roles:
            self._run("+".join(group), ("worker", *group))
        if self.controller:
            self._run("controller", ("controller", "--file", str(self.flag_file)))
        self.say(f"roles: {', '.join(role.name for role in self.processes)}")

    @property
    def flag_file(self) -> Path:
        return self.settings.flagd_file or self.settings.home / "flags.json"

    def _with_addresses(self) -> Settings:
        return load(
            **{
                **self.settings.model_dump(),
                "kafka": self._kafka.bootstrap if self._kafka else self.settings.kafka,
                "clickhouse_url": self._clickhouse.url if self._clickhouse else self.settings.clickhouse_url,
            }
        )

    def _run(self, name: str, arguments: Sequence[str]) -> None:
        logs = self.settings.home / "logs"
        logs.mkdir(exist_ok=True)
        role = Role(name, tuple(arguments), logs / f"{name}.log")
        self._spawn(role)
        self.processes.append(role)

    def _spawn(self, role: Role) -> None:
        with role.log.open("ab") as log:
            role.process = subprocess.Popen(
                [sys.executable, "-m", "stoploss", *role.arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment(self.settings), "STOPLOSS_OWNED": "1"},
                start_new_session=True,
            )

    def watch(self) -> list[str]:
        """Starts again what has ended; gives a sentence for each."""
        said = []
        for role in self.processes:
            code = role.process.poll() if role.process else None
            if role.process is None or code is None:
                continue
            if not role.ended_at_s:
                role.ended_at_s = time.monotonic()
                said.append(f"{role.name} ended with exit code {code} and is started again; its log: {role.log}")
            elif time.monotonic() - role.ended_at_s >= RESTART_PAUSE_S:
                role.restarts, role.ended_at_s = role.restarts + 1, 0.0
                self._spawn(role)
        return said

    def stop(self) -> None:
        """Ends the roles, then the parts they stand on."""
        alive = [role.process for role in self.processes if role.process is not None and role.process.poll() is None]
        for process in alive:
            process.terminate()
        deadline_s = time.monotonic() + STOP_S
        for process in alive:
            try:
                process.wait(max(0.1, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []
        for part in (self._clickhouse, self._kafka):
            if part is not None:
                part.stop()
        self._kafka = self._clickhouse = None


def environment(settings: Settings) -> dict[str, str]:
    """Settings as the environment variables of a child."""
    values = settings.model_dump(exclude_none=True)
    return {f"STOPLOSS_{name.upper()}": str(value) for name, value in values.items()}


def end_with_parent() -> None:
    """A child that `Stack` started ends when the pipe to its parent breaks, however the parent went."""
    import signal
    import threading

    if os.environ.get("STOPLOSS_OWNED") != "1":
        return

    def wait() -> None:
        while os.read(0, 1):
            continue
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_S)
        os._exit(70)

    threading.Thread(target=wait, name="parent", daemon=True).start()
