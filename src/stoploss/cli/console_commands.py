"""The command that shows everything in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def console(
    host: Annotated[str | None, typer.Option(help="Where to listen; this machine alone without.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="8765, or the next that is free.")] = None,
    link_for: Annotated[
        str | None, typer.Option("--link-for", metavar="NAME", help="Print a link for somebody, and end.")
    ] = None,
) -> None:
    """Pages in a browser, with buttons to stop.

    Prints the link that signs you in. Runs until Ctrl-C.
    """
    from stoploss.cli import console as serving

    if link_for is not None:
        serving.print_link(link_for)
    else:
        serving.serve(host, port)
