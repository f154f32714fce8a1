"""`stoploss up`, for real: what it starts, that nothing outlives it, and that its data are there the next time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE_S = 120.0
STOP_S = 30.0
SPEC = Path(__file__).parents[2] / "examples" / "checkout-agent-model.yaml"
NAME = "checkout-agent-model"
ROLES = {"intake", "joiner", "resolver", "registrar", "judge", "courier", "recorder"}


class Terminal:
    """One terminal with a home of its own: `up` in a process group as a shell makes it, other commands beside it."""

    def __init__(self, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STOPLOSS_")}
        self.environment = {**kept, "STOPLOSS_HOME": str(home), "STOPLOSS_LEDGER_PARTITIONS": "2"}
        self.home = home
        self.log = home / "up.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def up(self) -> subprocess.Popen[bytes]:
        """Returns once it says that it is up."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stoploss", "up"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                start_new_session=True,
            )
        process = self.process
        self.wait(lambda: "end with Ctrl-C" in self.said or process.poll() is not None)
        assert process.poll() is None, self.said
        return process

    @property
    def said(self) -> str:
        return self.log.read_text()

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stoploss", *map(str, arguments)]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )

    def wait(self, until: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < deadline_s, self.said[-2_000:]
            time.sleep(0.05)

    def family(self) -> dict[int, str]:
        """Everything below `up`, however deep: command line by process id."""
        assert self.process is not None
        listed = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
        rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
        commands = {int(row[0]): row[2] if len(row) > 2 else "" for row in rows}
        parents = {int(row[0]): int(row[1]) for row in rows}
        below = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in below} - below:
            below |= more
        return {pid: commands[pid] for pid in below - {self.process.pid}}

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    found = Terminal(tmp_path)
    yield found
    found.close()


def is_alive(pid: int) -> bool:
    """A process that has ended and is not yet collected counts as gone."""
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(listed.strip()) and not listed.strip().startswith("Z")


def roles_of(family: dict[int, str]) -> dict[str, int]:
    return {command.split()[-1]: pid for pid, command in family.items() if " stoploss worker " in command}


def test_up_runs_everything_and_neither_a_signal_nor_a_kill_leaves_anything_behind(terminal: Terminal) -> None:
    first = terminal.up()
    family = terminal.family()
    assert roles_of(family).keys() == ROLES
    for part in (
        "kafka.Kafka",
        "stoploss.embedded.clickhouse_http",
        "stoploss controller",
        "stoploss retention",
        "stoploss console",
    ):
        assert any(part in command for command in family.values()), part

    second = terminal.run("up")
    assert second.returncode == 1
    assert "is in use by another `stoploss up` or demo" in second.stderr

    registered = terminal.run("register", SPEC)
    assert registered.returncode == 0, registered.stderr
    started = terminal.run("start", NAME)
    assert started.returncode == 0, started.stderr
    terminal.wait((terminal.home / "flags.json").exists)

    first.kill()
    first.wait()
    terminal.wait(lambda: not any(map(is_alive, family)), STOP_S)
    assert "no Kafka address" in terminal.run("status").stderr

    again = terminal.up()
    assert f'"experiment": "{NAME}"' in terminal.run("status", "--json").stdout
    refused = terminal.run("start", NAME)
    assert "not allowed while the experiment is running" in refused.stderr

    family = terminal.family()
    victim = roles_of(family)["joiner"]
    os.kill(victim, signal.SIGKILL)
    terminal.wait(lambda: roles_of(terminal.family()).get("joiner", victim) != victim)
    assert "joiner was ended by SIGKILL, is started again in 1 s" in terminal.said

    family |= terminal.family()
    began_s = time.monotonic()
    again.terminate()
    assert again.wait(STOP_S) == 0
    assert time.monotonic() - began_s < STOP_S
    assert not any(map(is_alive, family))
    assert terminal.said.splitlines()[-2:] == ["stopping", "stopped"]
    assert not [line for line in terminal.said.splitlines() if "Traceback" in line or "rdkafka" in line]


def test_ctrl_c_ends_a_start_that_has_not_finished(terminal: Terminal) -> None:
    with terminal.log.open("wb") as log:
        terminal.process = subprocess.Popen(
            [sys.executable, "-m", "stoploss", "up"],
            stdout=log,
            stderr=log,
            env=terminal.environment,
            start_new_session=True,
        )
    process = terminal.process
    terminal.wait(lambda: "starting Apache Kafka" in terminal.said)
    terminal.wait(lambda: any("kafka" in command for command in terminal.family().values()))
    family = terminal.family()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(STOP_S) == 0
    assert terminal.said.splitlines()[-1] == "stopped"
    assert not any(map(is_alive, family))


def test_a_broker_that_is_not_there_is_one_sentence(terminal: Terminal) -> None:
    terminal.environment["STOPLOSS_KAFKA"] = "127.0.0.1:1"
    ended = terminal.run("up")
    assert ended.returncode == 1
    (line,) = (ended.stdout + ended.stderr).splitlines()
    assert line == (
        "stoploss: no Kafka broker answers (127.0.0.1:1: connection refused); start it, or correct STOPLOSS_KAFKA"
    )
