"""What `up` stands on: roles that are started again and end with their owner, and a home that one process holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.request import urlopen

import pytest

from stoploss.cli import addresses
from stoploss.cli.stack import LONGEST_PAUSE_S, STEADY_S, Role, Stack, environment
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.embedded.ports import free_port, require_free
from stoploss.errors import ConfigurationError, EmbeddedUnavailable
from stoploss.settings import Settings, load
from streams.admin import Admin
from tests.installation import settings_of

PATIENCE_S = 60.0


def wait(until: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


# ---- roles -----------------------------------------------------------------------------------------


def test_a_role_that_keeps_ending_waits_longer_each_time() -> None:
    role = Role("judge", ("worker", "judge"), Path("judge.log"))
    sentences = []
    for now_s in range(7):
        role.began_s = float(now_s)
        sentences.append(role.ended(70, now_s + 0.5))
    assert sentences[0] == "judge ended with exit code 70, is started again in 1 s; its log: judge.log"
    assert [sentence.split(" in ")[1].split(" s;")[0] for sentence in sentences] == [
        "1",
        "2",
        "4",
        "8",
        "16",
        "30",
        "30",
    ]
    assert role.pause_s == LONGEST_PAUSE_S


def test_a_role_that_ran_well_for_a_while_begins_with_a_short_pause() -> None:
    role = Role("judge", ("worker", "judge"), Path("judge.log"), pause_s=16.0)
    assert role.ended(-signal.SIGKILL, STEADY_S) == (
        "judge was ended by SIGKILL, is started again in 1 s; its log: judge.log"
    )


def test_settings_reach_a_child_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load(home=tmp_path, kafka="127.0.0.1:1", ledger_partitions=3, webhook_url="http://127.0.0.1:2/a")
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load() == settings


@pytest.fixture
def settings(kafka: EmbeddedKafka, clickhouse: EmbeddedClickHouse, tmp_path: Path) -> Settings:
    return settings_of(kafka, tmp_path, clickhouse_url=clickhouse.url)


def test_a_killed_role_is_started_again_and_none_outlives_the_stack(settings: Settings) -> None:
    said: list[str] = []
    with Stack(settings, said.append, roles=(("registrar", "courier"),), controller=False) as stack:
        (role,) = stack.processes
        assert role.process is not None
        first = role.process
        first.kill()
        wait(lambda: role.process is not first or watched(stack, said))
        wait(lambda: role.process is not None or watched(stack, said))
        second = role.process
        assert second is not None
        assert second.pid != first.pid
    assert said[-1].startswith("registrar+courier was ended by SIGKILL, is started again in 1 s")
    assert second.poll() is not None


def watched(stack: Stack, said: list[str]) -> bool:
    """One look at the roles; False, so that it can stand in a condition that is not met yet."""
    said += stack.watch()
    return False


def test_each_process_answers_probes_on_a_port_of_its_own(settings: Settings) -> None:
    first = ports_in_a_row(3)
    settings = settings.model_copy(update={"health_port": first})
    with Stack(settings, lambda sentence: None, roles=(("registrar",), ("courier",))) as stack:
        assert [(role.name, role.health_port) for role in stack.processes] == [
            ("registrar", first),
            ("courier", first + 1),
            ("controller", first + 2),
        ]
        for port in range(first, first + 3):
            wait(partial(answers, port))


def ports_in_a_row(count: int) -> int:
    """The first of so many ports that nobody listens on."""
    while True:
        first = free_port()
        try:
            for port in range(first, first + count):
                require_free(port, title="a process")
        except EmbeddedUnavailable:
            continue
        return first


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:  # nobody listens yet
        return False


def test_a_health_port_that_leaves_none_for_the_others_is_refused(settings: Settings) -> None:
    settings = settings.model_copy(update={"health_port": 65_535})
    with (
        pytest.raises(ConfigurationError, match="STOPLOSS_HEALTH_PORT=65535 leaves no port for process 2"),
        Stack(settings, lambda sentence: None, roles=(("registrar",), ("courier",)), controller=False),
    ):
        pass


def test_keys_that_are_there_are_kept(settings: Settings) -> None:
    for _ in range(2):
        with Stack(settings, lambda sentence: None, roles=(), controller=False):
            key = (settings.keys / "monitor.key").read_bytes()
    assert (settings.keys / "monitor.key").read_bytes() == key


def test_partitions_that_exist_are_taken_over_unless_others_are_asked_for(
    kafka: EmbeddedKafka, clickhouse: EmbeddedClickHouse, settings: Settings
) -> None:
    Admin(kafka.bootstrap).create(settings)
    given = {name: value for name, value in settings.model_dump().items() if name in settings.model_fields_set}
    given.pop("ledger_partitions")
    with Stack(Settings(**given), lambda sentence: None, roles=(), controller=False) as stack:
        assert stack.settings.ledger_partitions == settings.ledger_partitions == 2
    with (
        pytest.raises(ConfigurationError, match="STOPLOSS_LEDGER_PARTITIONS=2"),
        Stack(Settings(**given, ledger_partitions=16), lambda sentence: None, roles=(), controller=False),
    ):
        pass


# ---- the home ------------------------------------------------------------------------------------


HOLDER = """
import sys, pathlib
from stoploss.cli import addresses
from stoploss.settings import load
settings = load(home=sys.argv[1], kafka="127.0.0.1:1", clickhouse_url="http://127.0.0.1:2", ledger_partitions=5)
with addresses.held(settings.home), addresses.written(settings):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith("STOPLOSS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("STOPLOSS_HOME", str(tmp_path))
    return tmp_path


def holder(home: Path) -> subprocess.Popen[str]:
    """Another process that runs in the home."""
    arguments = [sys.executable, "-c", HOLDER, str(home)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_commands_find_who_runs_in_the_home_and_a_second_is_refused(home: Path) -> None:
    with holder(home):
        settings = addresses.resolved()
        assert (settings.kafka, settings.ledger_partitions) == ("127.0.0.1:1", 5)
        with pytest.raises(ConfigurationError, match="is in use by another"), addresses.held(home):
            pass
    assert addresses.resolved().kafka is None


def test_what_a_killed_one_left_behind_misleads_nobody(home: Path) -> None:
    with holder(home) as process:
        process.kill()
    assert json.loads((home / addresses.FILE).read_text())["pid"] == process.pid
    assert addresses.resolved().kafka is None
    with addresses.held(home):
        assert addresses.running(home) is not None


def test_settings_of_the_environment_come_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOPLOSS_KAFKA", "elsewhere:9092")
    with holder(home):
        assert addresses.resolved().kafka == "elsewhere:9092"


@pytest.mark.parametrize("servers", ["{up}", "127.0.0.1:1,{up}", "PLAINTEXT://{up}", " {up} ,"])
def test_one_listener_among_the_servers_is_enough(kafka: EmbeddedKafka, servers: str) -> None:
    addresses.require_listener(servers.format(up=kafka.bootstrap))


@pytest.mark.parametrize("server", ["127.0.0.1:1", "127.0.0.1:port", "[::1]:1", "no-such-host.invalid", "x:99999"])
def test_a_server_that_cannot_be_reached_is_named_with_the_reason(server: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        addresses.require_listener(server)
    assert str(refused.value).startswith(f"no Kafka broker answers ({server}: ")
