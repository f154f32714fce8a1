"""The commands of `stoploss deadletter`; what they do is in dead_letters.py, imported when one runs."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Reason = Annotated[str | None, typer.Option(help="Only of this code, or with this text in their reason.")]
Since = Annotated[str, typer.Option(help="How far back: 90s, 2m, 24h or 7d.")]
Letter = Annotated[str, typer.Argument(help="Id of a dead letter, as `list` shows it.", metavar="ID")]


@app.callback()
def _about() -> None:
    """List, show or retry what could not be read."""


@app.command("list")
def list_letters(
    reason: Reason = None,
    since: Since = "24h",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """What was refused, newest first: why, when and where from.

    With the variant where the record still tells it.
    """
    from stoploss.cli import addresses, dead_letters

    dead_letters.list_letters(addresses.connected(), dead_letters.Wanted.of(reason, since), limit, as_json)


@app.command()
def show(
    letter: Letter,
    whole: Annotated[bool, typer.Option("--whole", help="All bytes, however many.")] = False,
    as_json: Json = False,
) -> None:
    """One dead letter with its bytes, which may hold personal data."""
    from stoploss.cli import addresses, dead_letters

    dead_letters.show(addresses.connected(), letter, whole, as_json)


@app.command()
def retry(
    letter: Annotated[str | None, typer.Argument(help="Id of a dead letter; or give --reason.", metavar="ID")] = None,
    reason: Reason = None,
    since: Since = "24h",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Send the bytes again to the topic that they came from.

    Each record once, with a header that says which attempt it is. What is refused again is a new dead letter.
    """
    from stoploss.cli import addresses, dead_letters

    if (letter is None) == (reason is None):
        raise typer.BadParameter("give the ID of one dead letter, or --reason for all that were refused for it")
    wanted = dead_letters.Wanted.of(reason, since)
    dead_letters.retry(addresses.connected(), letter, wanted, ask=not yes)
