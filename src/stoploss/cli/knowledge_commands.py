"""The command that searches past experiments."""

from __future__ import annotations

from typing import Annotated

import typer

from stoploss.cli.options import ANSWER_IS_NO, Json

app = typer.Typer()


@app.command()
def knowledge(
    query: Annotated[list[str] | None, typer.Argument(help="Words to look for.", metavar="QUERY")] = None,
    unit: Annotated[str | None, typer.Option(help="What was changed: prompt, model, workflow, tools, routing.")] = None,
    model: Annotated[str | None, typer.Option(help="A model of either variant.")] = None,
    segment: Annotated[str | None, typer.Option(help="A segment: tenant, or tenant=acme if it was harmed.")] = None,
    failure: Annotated[str | None, typer.Option(help="The gate or metric that was breached.")] = None,
    as_json: Json = False,
) -> None:
    """Search past experiments: how they ended and why.

    In their specs, findings, requests, notes and lessons, from ClickHouse. The exit code is 3 where nothing is found.
    """
    from stoploss.cli import addresses
    from stoploss.cli.knowledge import Wanted
    from stoploss.cli.knowledge import knowledge as searched

    if not searched(addresses.resolved(), " ".join(query or ()), Wanted(unit, model, segment, failure), as_json):
        raise typer.Exit(ANSWER_IS_NO)
