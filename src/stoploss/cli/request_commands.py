"""Commands by which people ask the monitor for something."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from stoploss.cli.options import ANSWER_IS_NO, Experiment, Json, Share, Why

app = typer.Typer()


@app.command()
def register(
    file: Annotated[Path, typer.Argument(help="The experiment's YAML.", metavar="FILE.yaml")],
    reason: Why = "",
    as_json: Json = False,
) -> None:
    """Register an experiment.

    What is wrong with the file is named with line and field.
    """
    from stoploss.cli import asking

    asking.register(file, reason, as_json)


@app.command()
def start(experiment: Experiment, exposure: Share = None, reason: Why = "", as_json: Json = False) -> None:
    """Start an experiment, at its first stage or at --exposure."""
    from stoploss.cli import asking

    asking.ask("start", experiment, reason, as_json, exposure)


@app.command()
def pause(experiment: Experiment, reason: Why = "", as_json: Json = False) -> None:
    """Take the treatment out of traffic; a resume follows."""
    from stoploss.cli import asking

    asking.ask("pause", experiment, reason, as_json)


@app.command()
def resume(experiment: Experiment, exposure: Share = None, reason: Why = "", as_json: Json = False) -> None:
    """Begin a new run after a hold, pause, stop or rollback.

    It starts at the first stage, or at --exposure.
    """
    from stoploss.cli import asking

    asking.ask("resume", experiment, reason, as_json, exposure)


@app.command()
def stop(experiment: Experiment, reason: Why = "", as_json: Json = False) -> None:
    """Stop an experiment: nobody gets the treatment."""
    from stoploss.cli import asking

    asking.ask("stop", experiment, reason, as_json)


@app.command()
def rollback(
    experiment: Experiment,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Before a start: controllers answer, and nothing changes.")
    ] = False,
    reason: Why = "",
    as_json: Json = False,
) -> None:
    """Give everybody the variant that the spec rolls back to."""
    from stoploss.cli import asking

    asking.ask("rehearse" if dry_run else "rollback", experiment, reason, as_json)


@app.command(name="break-glass")
def stop_past_the_monitor(
    experiment: Experiment,
    to: Annotated[  # noqa: ARG001 (said aloud, for there is no other way)
        Literal["control"], typer.Option("--to", help="Whom everybody is given to: the control variant.")
    ],
    reason: Why = "",
    key: Annotated[Path | None, typer.Option("--key", help="Private key; break-glass.key of the home without.")] = None,
    as_json: Json = False,
) -> None:
    """Stop past the monitor, with a key of people.

    For when the monitor is down or wrong. It can only take the treatment away, and holds until a resume. The exit code
    is 3 where not every required controller has applied it.
    """
    from stoploss.cli import break_glass

    if not break_glass.break_glass(experiment, reason, key, as_json):
        raise typer.Exit(ANSWER_IS_NO)
