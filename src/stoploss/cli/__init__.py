"""The command line. Commands are listed in contents.py, and each is imported when it is asked for; what it needs is
imported when it runs. So `--help` is quick.

Exit codes: 0 done; 1 refused, not found or given up, told in one sentence; 2 the command line itself is wrong; 3 the
answer is no (a replay that differs, a doctor who finds something); 70 a worker could not go on and wants to be started
again; 130 ended by Ctrl-C, except `up`, `worker` and `controller`, whose ordinary end it is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from stoploss.cli.lazily import LazyGroup
from stoploss.cli.options import REFUSED
from stoploss.errors import InvalidExperiment, StoplossError

app = typer.Typer(
    name="stoploss",
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=True,
    invoke_without_command=True,
)


def main() -> None:
    """Runs a command; an error is one sentence and a way out, never a traceback."""
    try:
        app(prog_name="stoploss")
    except InvalidExperiment as error:
        _refuse(*(f"{error.name}: {violation}" for violation in error.violations))
    except StoplossError as error:
        _refuse(f"stoploss: {error}")
    except OSError as error:
        _refuse(f"stoploss: {error.filename or 'the system'}: {error.strerror or error}")
    except Exception as error:
        # The drivers are slow to import: only an error that nobody above expected is compared with theirs.
        from stoploss.cli import addresses

        if not isinstance(error, addresses.driver_errors()):
            raise
        _refuse(f"stoploss: {addresses.first_line(error)}; try again, or look with `stoploss doctor`")


def _refuse(*sentences: str) -> None:
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    sys.exit(REFUSED)


@app.callback()
def _common(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version; with --json, those of its parts.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --version.", hidden=True)] = False,
    pairs: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: kafka=broker:9092; repeat it.", metavar="NAME=VALUE")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="File of settings, instead of .env.", metavar="FILE")
    ] = None,
) -> None:
    """A stop-loss for GenAI experiments in production."""
    from stoploss import logs

    logs.to_stderr("WARNING")
    if version:
        _print_version(as_json)
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.fail("Missing command.")
    if as_json:
        context.fail("--json here goes with --version; for a command's own, write it behind the command.")
    if pairs or settings:
        from stoploss.settings import given

        context.with_resource(given(pairs or (), settings))


def _print_version(as_json: bool) -> None:
    from stoploss import __version__

    if as_json:
        from stoploss.cli import output, starting

        output.print_json(starting.versions())
    else:
        print(f"stoploss {__version__}")
