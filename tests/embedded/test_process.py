"""Nothing that was started outlives the one who started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoploss.embedded import lock
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.embedded.process import GuardedProcess, start_guarded
from stoploss.errors import EmbeddedUnavailable

from .processes import is_alive, kill, parent_of, wait_until, wait_until_gone

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)
OBEDIENT = "import time; print('ready', flush=True); time.sleep(600)"
OWNER = """
import json, os, signal, sys
from pathlib import Path
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka

# A shell's background jobs, and what they start, ignore SIGINT: a program on a terminal does not.
signal.signal(signal.SIGINT, signal.default_int_handler)
directory = Path(sys.argv[1])
with EmbeddedKafka(directory / "kafka") as kafka, EmbeddedClickHouse(directory / "clickhouse") as clickhouse:
    print(json.dumps([kafka.pid, clickhouse.pid]), flush=True)
    signal.pause()
"""


def start(tmp_path: Path, code: str, grace_s: float = 10.0) -> GuardedProcess:
    descriptor = lock.acquire(tmp_path, title="a test", wait_s=0)
    log_path = tmp_path / "log"
    process = start_guarded(
        [sys.executable, "-c", code],
        log_path=log_path,
        lock_descriptor=descriptor,
        grace_s=grace_s,
        environment={},
    )
    os.close(descriptor)
    wait_until(lambda: "ready" in log_path.read_text(), what="the child runs")
    return process


def lock_is_free(directory: Path) -> bool:
    try:
        os.close(lock.acquire(directory, title="a test", wait_s=0))
    except EmbeddedUnavailable:
        return False
    return True


def test_a_stopped_server_ends_by_sigterm(tmp_path: Path) -> None:
    process = start(tmp_path, OBEDIENT)
    process.stop()
    assert process.exit_code == 128 + signal.SIGTERM
    assert not is_alive(process.pid)


def test_a_server_that_ignores_sigterm_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    process = start(tmp_path, STUBBORN, grace_s=0.2)
    process.stop()
    assert process.exit_code == 128 + signal.SIGKILL
    assert not is_alive(process.pid)


def test_a_server_that_ends_by_itself_takes_its_guard_along_and_frees_the_directory(tmp_path: Path) -> None:
    process = start(tmp_path, "print('ready'); raise SystemExit(7)")
    wait_until(lambda: process.exit_code is not None, what="the guard ends")
    assert process.exit_code == 7
    assert lock_is_free(tmp_path)
    process.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_guard_takes_even_a_stubborn_server_along(tmp_path: Path) -> None:
    process = start(tmp_path, STUBBORN)
    process.guard.kill()
    wait_until_gone(process.pid)
    process.stop()
    assert lock_is_free(tmp_path)


def test_a_signal_to_the_guard_stops_the_server(tmp_path: Path) -> None:
    process = start(tmp_path, OBEDIENT)
    process.guard.send_signal(signal.SIGTERM)
    wait_until_gone(process.pid)
    process.stop()


def test_the_guard_notices_a_dead_owner_even_when_a_fork_of_it_holds_the_pipe_open(tmp_path: Path) -> None:
    """multiprocessing's fork inherits every descriptor of the owner."""
    code = f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from embedded.test_process import OBEDIENT, start
process = start(Path({str(tmp_path)!r}), OBEDIENT)
fork = os.fork()
if fork == 0:
    time.sleep(600)
print(process.pid, fork, flush=True)
os._exit(0)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        server, fork = map(int, owner.stdout.readline().split())
        owner.wait()
        try:
            wait_until_gone(server)
            assert is_alive(fork)
        finally:
            kill(fork)


def test_a_directory_is_free_once_a_stopping_owner_has_stopped(tmp_path: Path) -> None:
    process = start(tmp_path, STUBBORN, grace_s=2.0)
    assert process.guard.stdin
    process.guard.stdin.close()
    os.close(lock.acquire(tmp_path, title="a test", wait_s=30))
    assert not is_alive(process.pid)
    process.stop()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("owned")


@pytest.fixture
def owner(directory: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process with both servers, alone in a session like a program on a terminal, and the servers' pids."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
        kill(process.pid)


@pytest.mark.kafka
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["Ctrl-C", "SIGTERM", "kill -9"]
)
def test_kafka_and_clickhouse_stop_in_order_when_their_owner_gets(
    number: signal.Signals, owner: tuple[subprocess.Popen[str], list[int]], directory: Path
) -> None:
    process, servers = owner
    assert not (directory / "kafka/data/.kafka_cleanshutdown").exists()
    os.killpg(process.pid, number)
    process.wait()
    wait_until_gone(*servers)
    assert (directory / "kafka/data/.kafka_cleanshutdown").exists()
    assert "closed" in (directory / "clickhouse/clickhouse.log").read_text()


@pytest.mark.kafka
@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_kafka_and_clickhouse_go_when_their_guards_are_killed(
    owner: tuple[subprocess.Popen[str], list[int]], directory: Path
) -> None:
    process, servers = owner
    for server in servers:
        kill(parent_of(server))
    wait_until_gone(*servers)
    process.terminate()
    process.wait()


def test_a_directory_in_use_is_refused_with_the_owner_named(tmp_path: Path) -> None:
    with EmbeddedClickHouse(tmp_path):
        for service in (EmbeddedClickHouse(tmp_path), EmbeddedKafka(tmp_path)):
            with pytest.raises(EmbeddedUnavailable, match=rf"cannot use {tmp_path}: process {os.getpid()} uses it"):
                service.start()
