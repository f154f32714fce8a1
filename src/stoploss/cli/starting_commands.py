"""Commands for the first minutes: files to begin with, and what is set."""

from __future__ import annotations

import typer

from stoploss.cli.options import Json

app = typer.Typer()


@app.command()
def init() -> None:
    """Write a commented experiment, prices and settings here.

    experiment.yaml, prices.yaml and .env, in the working directory. Nothing is written over.
    """
    from stoploss.cli import starting

    starting.init()


@app.command()
def settings(as_json: Json = False) -> None:
    """Every setting, its value here, and who set it."""
    from stoploss.cli import starting

    starting.settings(as_json)
