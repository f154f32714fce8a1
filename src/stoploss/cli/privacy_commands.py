"""Commands of a privacy office."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stoploss.cli.options import ANSWER_IS_NO, Json

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
    as_json: Json = False,
) -> None:
    """Delete what is older than its experiment allows.

    Says to ClickHouse (TTL) and Kafka (retention.ms), which delete by themselves from then on, how long traces,
    outcomes and dead letters stay: as each spec's privacy.retention says, and until an open incident of the experiment
    is closed. Run it once a day, and after an incident is opened or closed.
    """
    from stoploss.cli import addresses
    from stoploss.cli.retaining import retain

    if not retain(addresses.resolved(), check, as_json):
        raise typer.Exit(ANSWER_IS_NO)
