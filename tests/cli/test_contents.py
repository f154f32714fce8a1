"""The list of commands is printed without importing any: it must say what the commands say of themselves."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from stoploss import cli
from stoploss.cli.contents import COMMANDS, GROUPS
from stoploss.cli.lazily import LazyGroup

HEAVY = ("polars", "numpy", "scipy", "river", "faust", "chdb", "confluent_kafka", "clickhouse_connect", "plotly")
HERE = Path(cli.__file__).parent


def app_of(module: str) -> typer.Typer:
    return cast(typer.Typer, importlib.import_module(f"stoploss.cli.{module}").app)


def everything_at_once() -> TyperGroup:
    """The same command line without laziness, as Typer's own `add_typer` makes it."""
    app = typer.Typer(rich_markup_mode=None, invoke_without_command=True, no_args_is_help=True)
    app.callback()(cli._common)
    for module in COMMANDS:
        app.add_typer(app_of(module))
    for name, (module, _) in GROUPS.items():
        app.add_typer(app_of(module), name=name)
    return cast(TyperGroup, get_command(app))


EAGER, LAZY = everything_at_once(), cast(LazyGroup, get_command(cli.app))


def helped(group: Any, *path: str, width: int = 80) -> str:
    context = typer.Context(group, info_name="stoploss", terminal_width=width)
    for name in path:
        context = typer.Context(context.command.get_command(context, name), info_name=name, parent=context)  # type: ignore[attr-defined]
    return cast(str, context.get_help())


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_list_says_what_the_commands_say_of_themselves(width: int) -> None:
    assert helped(LAZY, width=width) == helped(EAGER, width=width)


@pytest.mark.parametrize("name", [*EAGER.commands])
def test_each_command_has_the_same_help(name: str) -> None:
    assert helped(LAZY, name) == helped(EAGER, name)


def test_every_module_of_commands_is_in_the_table() -> None:
    listed = {*COMMANDS, *(module for module, _ in GROUPS.values())}
    assert {path.stem for path in HERE.glob("*_commands.py")} == listed


@pytest.mark.parametrize("typed", ["", "re", "dead", "nothing"])
def test_completion_offers_the_same(typed: str) -> None:
    offered = [
        [(item.value, item.help) for item in group.shell_complete(typer.Context(group), typed)]
        for group in (LAZY, EAGER)
    ]
    assert offered[0] == offered[1]


def test_a_command_that_the_table_lacks_is_refused_rather_than_lost() -> None:
    app = typer.Typer(cls=LazyGroup)
    app.command("forgotten")(lambda: None)
    app.command("another")(lambda: None)
    with pytest.raises(TypeError, match=r"list forgotten, another in cli/contents\.py"):
        get_command(app)


@pytest.mark.parametrize("arguments", [["--help"], ["start", "--help"], ["deadletter", "--help"], ["--version"]])
def test_what_answers_at_once_imports_nothing_heavy(arguments: list[str]) -> None:
    """A process of its own: this one has loaded them all."""
    names = modules_after(arguments)
    assert [name for name in HEAVY if name in names] == []


def test_the_list_imports_no_command() -> None:
    assert [name for name in modules_after(["--help"]) if name.endswith("_commands")] == []


def modules_after(arguments: list[str]) -> set[str]:
    asked = (
        f"import sys, stoploss.cli as cli; sys.argv = ['stoploss', *{arguments}]\n"
        "try: cli.main()\n"
        "finally: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())
