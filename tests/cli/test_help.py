"""What a new user meets first: help that answers quickly, and mistakes that are told in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from stoploss import __version__, cli
from stoploss.cli import asking, running_commands
from stoploss.lifecycle import REQUESTS
from streams.worker import ROLES
from tests.cli.conftest import Program

COMMANDS = sorted(cast(TyperGroup, get_command(cli.app)).commands)
SLOW = ("polars", "river", "faust", "numpy", "confluent_kafka", "clickhouse_connect", "pydantic", "structlog", "rich")
NEED_KAFKA = (
    ["topics"],
    ["register", "spec.yaml"],
    ["start", "x"],
    ["pause", "x"],
    ["resume", "x"],
    ["stop", "x"],
    ["rollback", "x"],
    ["status"],
    ["replay", "x"],
    ["deadletter", "list"],
    ["emit", "traces.jsonl"],
    ["simulate", "x"],
    ["worker", "judge"],
)
SPEC = Path(__file__).parents[2] / "examples" / "checkout-agent-model.yaml"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(stoploss: Program, command: str) -> None:
    ended = stoploss(command, "--help")
    assert ended.code == 0
    assert ended.out.startswith(f"Usage: stoploss {command} ")
    assert not ended.err


def test_the_list_of_commands_cuts_no_sentence_at_80_columns(stoploss: Program) -> None:
    ended = stoploss("--help")
    listed = ended.out.split("Commands:\n")[1].splitlines()
    assert sorted(line.split()[0] for line in listed) == COMMANDS
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"], ["register", "--help"], ["review", "--help"]])
def test_help_waits_for_no_library_that_only_commands_need(arguments: list[str]) -> None:
    """A process of its own: this one has loaded them all."""
    asked = (
        f"import sys, stoploss.cli as cli; sys.argv = ['stoploss', *{arguments}]\n"
        "try: cli.main()\n"
        f"finally: print('loaded:', [name for name in {SLOW} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_the_version_is_printed(stoploss: Program) -> None:
    assert stoploss("--version").out == f"stoploss {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["start"], ["worker", "cook"], ["replay", "x", "--nonsense"]])
def test_a_wrong_command_line_is_exit_code_2(stoploss: Program, arguments: list[str]) -> None:
    ended = stoploss(*arguments)
    assert ended.code == 2
    assert "Usage: stoploss" in ended.err + ended.out


def test_a_worker_offers_every_role() -> None:
    assert [role.value for role in running_commands.Role] == list(ROLES)


def test_every_request_that_the_lifecycle_knows_has_its_answer() -> None:
    assert asking.DONE.keys() == REQUESTS.keys()


@pytest.mark.parametrize("command", NEED_KAFKA, ids=lambda command: command[0])
def test_without_a_broker_a_command_is_refused_in_one_sentence(stoploss: Program, command: list[str]) -> None:
    Path("spec.yaml").write_text(SPEC.read_text())
    ended = stoploss.set(kafka="127.0.0.1:1")(*command)
    assert ended.code == 1
    assert ended.sentence.startswith("stoploss: ")
    assert "127.0.0.1:1" in ended.sentence
    assert "STOPLOSS_KAFKA" in ended.sentence


@pytest.mark.parametrize("command", NEED_KAFKA, ids=lambda command: command[0])
def test_without_an_address_a_command_names_the_setting(stoploss: Program, command: list[str]) -> None:
    Path("spec.yaml").write_text(SPEC.read_text())
    ended = stoploss(*command)
    assert ended.code == 1
    assert "set STOPLOSS_KAFKA=host:port, or start the embedded one with `stoploss up`" in ended.sentence


def test_a_wrong_setting_is_named_with_what_it_should_be(stoploss: Program) -> None:
    ended = stoploss.set(ledger_partitions="many")("topics")
    assert ended.code == 1
    assert "STOPLOSS_LEDGER_PARTITIONS" in ended.sentence
    assert "'many'" in ended.sentence
