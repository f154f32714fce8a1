"""The command line. Commands are thin and import what they need when they run, so that `--help` is quick.

Exit codes: 0 done; 1 refused, not found or given up, told in one sentence; 2 the command line itself is wrong; 3 the
answer is no (a replay that differs, a doctor who finds something); 70 a worker could not go on and wants to be started
again; 130 ended by Ctrl-C, except `up`, `worker` and `controller`, whose ordinary end it is.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from stoploss.cli import (
    cases_commands,
    console_commands,
    dead_letter_commands,
    evidence_commands,
    governing_commands,
    incident_commands,
    knowledge_commands,
    planning_commands,
    privacy_commands,
    reading_commands,
    request_commands,
    running_commands,
    traffic_commands,
)
from stoploss.cli.options import REFUSED
from stoploss.errors import InvalidExperiment, StoplossError

app = typer.Typer(
    name="stoploss",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=True,
)

for commands in (
    running_commands,
    request_commands,
    governing_commands,
    reading_commands,
    console_commands,
    evidence_commands,
    incident_commands,
    cases_commands,
    knowledge_commands,
    planning_commands,
    privacy_commands,
    traffic_commands,
):
    app.add_typer(commands.app)
app.add_typer(dead_letter_commands.app, name="deadletter")


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


def _version(show: bool) -> None:
    if show:
        from stoploss import __version__

        print(f"stoploss {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[  # noqa: ARG001 - eager: its own callback has answered
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A stop-loss for GenAI experiments in production."""
    from stoploss import logs

    logs.to_stderr("WARNING")
