"""The command that makes evaluation cases of harm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from stoploss.cli.options import Json

app = typer.Typer()

Form = Literal["jsonl", "inspect", "promptfoo", "deepeval", "openai"]


@app.command()
def cases(
    what: Annotated[
        str, typer.Argument(help="Name of an experiment, or id of a command.", metavar="EXPERIMENT|COMMAND")
    ],
    form: Annotated[Form, typer.Option("--format", help="What it is written in, or read from.")] = "jsonl",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the cases here.")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Record that they belong to --set --version.")] = False,
    decline: Annotated[str | None, typer.Option(help="Record that nobody makes cases of it, and why.")] = None,
    results: Annotated[Path | None, typer.Option(help="Record a result on --set --version from here.")] = None,
    evaluation_set: Annotated[str | None, typer.Option("--set", help="Name of the evaluation set.")] = None,
    version: Annotated[str | None, typer.Option(help="Version of the evaluation set.")] = None,
    subject: Annotated[str | None, typer.Option(help="What the result is of, where the file does not say.")] = None,
    as_json: Json = False,
) -> None:
    """Make evaluation cases of harm, and take their results.

    Traces that were evidence of harm, masked, each input once, without an expected answer, for nobody knows one. What
    is skipped is told with its reason. The same harm gives the same case ids, whenever it is exported.
    """
    from stoploss.cli import addresses
    from stoploss.cli import cases as harm

    settings = addresses.resolved()
    if sum((promote, decline is not None, results is not None)) > 1:
        raise typer.BadParameter("--promote, --decline and --results are three things; ask for one")
    if decline is not None:
        harm.decline(settings, what, decline)
        return
    if not promote and results is None:
        harm.cases(settings, what, form, output, as_json)
        return
    if not evaluation_set or not version:
        raise typer.BadParameter("--promote and --results need --set NAME and --version VERSION")
    if results is not None:
        harm.take_results(settings, what, results, form, evaluation_set, version, subject)
    else:
        harm.promote(settings, what, evaluation_set, version)
