"""Commands that show what the monitor sees and concluded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stoploss.cli.options import Experiment, Json

app = typer.Typer()


@app.command()
def status(
    experiment: Annotated[str | None, typer.Argument(help="One experiment; all without.", metavar="EXPERIMENT")] = None,
    as_json: Json = False,
) -> None:
    """All experiments and their state."""
    from stoploss.cli import addresses, reading

    reading.status(addresses.connected(), as_json, experiment)


@app.command()
def watch(
    experiment: Annotated[str | None, typer.Argument(help="One experiment; all without.", metavar="EXPERIMENT")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    as_json: Json = False,
) -> None:
    """A live table of arms, verdicts and commands."""
    from stoploss.cli import addresses, reading

    reading.watch(addresses.resolved(), experiment, once, as_json)


@app.command()
def explain(experiment: Experiment, as_json: Json = False) -> None:
    """The chain from evidence to command."""
    from stoploss.cli import addresses, reading

    reading.explain(addresses.resolved(), experiment, as_json)


@app.command()
def review(
    experiment: Experiment,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it here: .html with pictures, .md or .json.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the sample of traces; the same draws the same.")] = 1,
    traces: Annotated[bool, typer.Option("--traces/--no-traces", help="Show masked traces, or none.")] = True,
    as_json: Json = False,
) -> None:
    """The review: hypothesis, guardrails, decision and why.

    With what was preregistered, intervals, commands, evidence for and against, what is not known, and how to replay it.
    """
    from stoploss.cli import addresses, reading

    reading.review(addresses.resolved(), experiment, output, as_json, seed if traces else None)


@app.command()
def shadow(
    experiment: Experiment,
    max_age: Annotated[
        str, typer.Option("--max-age", help="How far a shadow run and its live request may lie apart.")
    ] = "5m",
    as_json: Json = False,
) -> None:
    """Shadow runs beside their live requests, pair by pair.

    They are stored apart and never pooled with what users were served; stale pairs are left out.
    """
    from stoploss.cli import addresses
    from stoploss.cli.shadow import shadow as shown

    shown(addresses.resolved(), experiment, max_age, as_json)
