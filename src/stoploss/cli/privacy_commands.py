"""Commands of a privacy office."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stoploss.cli.options import ANSWER_IS_NO, Json
from stoploss.errors import RequestRefused

app = typer.Typer()


@app.command()
def erase(
    unit: Annotated[str, typer.Option("--unit", help="Id as services send it in unit_id; '-' reads it from stdin.")],
    pack: Annotated[
        list[Path] | None, typer.Option("--pack", help="Incident pack or archive to look through. Repeat it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Erase one person's data and name every place.

    ClickHouse and the named packs are erased now; Kafka's topics say by when they have forgotten it. Ledger and journal
    hold keyed hashes alone and stay, so that every decision can still be verified. That it was done is a fact of the
    ledgers of its experiments. Exit code 3: something is left, run it again.
    """
    from stoploss.cli import addresses
    from stoploss.cli.erasing import erase as erased

    if not erased(addresses.resolved(), unit, pack or (), as_json):
        raise typer.Exit(ANSWER_IS_NO)


@app.command()
def retention(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 3 where something would be.")
    ] = False,
    every: Annotated[
        str | None, typer.Option(help="Go on until it is ended, with a rest of this length between two rounds: 1h.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Delete what is older than its experiment allows.

    Says to ClickHouse (TTL) and Kafka (retention.ms), which delete by themselves from then on, how long traces,
    outcomes and dead letters stay: as each spec's privacy.retention says, and until an open incident of the experiment
    is closed. `stoploss up` does it by itself; elsewhere run it each hour, or once with --every.
    """
    from stoploss.cli import addresses
    from stoploss.cli.retaining import keep_retaining, retain

    if every is not None and (check or as_json):
        raise RequestRefused("--every changes what has to be changed and prints that; leave out --check and --json")
    if every is not None:
        keep_retaining(addresses.resolved(), every)
    if not retain(addresses.resolved(), check, as_json):
        raise typer.Exit(ANSWER_IS_NO)
