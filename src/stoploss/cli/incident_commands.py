"""Commands about what follows harm: the pack of an incident, and its post-mortem."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from stoploss.cli.options import Json

app = typer.Typer()

Command = Annotated[
    str, typer.Argument(help="Id of a command, or its first 8 digits: see `explain`.", metavar="COMMAND")
]
Keys = Annotated[
    list[Path] | None, typer.Option("--key", help="Public key to pack; the installation's own without. Repeat it.")
]


@app.command()
def incident(
    command: Command,
    output: Annotated[Path, typer.Option("--output", "-o", help="Write the folder here.", metavar="DIR")],
    key: Keys = None,
    as_json: Json = False,
) -> None:
    """Pack an incident into a folder that replays elsewhere.

    Ledger, journal, commands and checkpoints up to the end of it, the masked traces that were evidence of harm, the
    spec and the versions, from ClickHouse. `stoploss replay DIR` judges it again on any machine.
    """
    from stoploss.cli import addresses
    from stoploss.cli.incident import incident as pack

    pack(addresses.resolved(), command, output, key or (), as_json)


@app.command()
def postmortem(
    command: Command,
    opened: Annotated[str | None, typer.Option("--open", help="Open the incident, with this summary.")] = None,
    factor: Annotated[str | None, typer.Option(help="Something that contributed.")] = None,
    remedy: Annotated[str | None, typer.Option(help="Id of a remedy: a-z, 0-9, '-'. With the next three.")] = None,
    what: Annotated[str | None, typer.Option(help="What will be done.")] = None,
    owner: Annotated[str | None, typer.Option(help="By whom.")] = None,
    due: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Until when.")] = None,
    done: Annotated[str | None, typer.Option(help="Id of a remedy that is done. With --how.")] = None,
    how: Annotated[str | None, typer.Option(help="What was done.")] = None,
    close: Annotated[str | None, typer.Option(help="Close the incident, with this conclusion.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the document here.")] = None,
    as_json: Json = False,
) -> None:
    """Write a post-mortem, or put on record what belongs in it.

    Without options, or with --output and --json, the document: timeline, containment against the target, contributing
    factors, remedies. What is added is a fact with its author; an incident is not closed while a remedy is open.
    """
    from stoploss.cli import addresses
    from stoploss.cli import postmortem as documents

    until = due.date() if due else None
    added = documents.Addition(opened, factor, remedy, what, owner, until, done, how, close)
    settings = addresses.resolved()
    if not documents.add(settings, command, added):
        documents.postmortem(settings, command, output, as_json)
