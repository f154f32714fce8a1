"""stoploss adapter: what a recipe would ask of a vendor, before anything is asked."""

from __future__ import annotations

from typing import Annotated

import typer

from stoploss.cli.options import Json
from stoploss.commands import Action

app = typer.Typer(no_args_is_help=True, help="See what an HTTP adapter would send; sends nothing.")

Recipe = Annotated[str, typer.Argument(help="A file, or the name of a recipe.", metavar="ADAPTER")]


@app.command("list")
def list_adapters(as_json: Json = False) -> None:
    """List the recipes that ship with stoploss."""
    from stoploss.cli import controlling

    controlling.adapters(as_json)


@app.command()
def show(recipe: Recipe) -> None:
    """Print a recipe: the beginning of a file of your own."""
    from stoploss.cli import controlling

    controlling.show(recipe)


@app.command("try")
def try_(
    recipe: Recipe,
    action: Annotated[Action, typer.Option(help="What the sample command does.")] = Action.ROLLBACK,
    exposure: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Share of the treatment variant.")] = None,
    experiment: Annotated[str, typer.Option(help="Name of the experiment.")] = "checkout",
    flag: Annotated[str, typer.Option(help="Key of the flag.")] = "checkout-model",
    control: Annotated[str, typer.Option(help="Name of the control variant.")] = "current",
    treatment: Annotated[str, typer.Option(help="Name of the treatment variant.")] = "small",
    released: Annotated[bool, typer.Option("--released", help="Everybody gets the treatment variant.")] = False,
    segment: Annotated[
        list[str] | None, typer.Option(help="A stopped segment; repeat it.", metavar="DIMENSION=VALUE")
    ] = None,
) -> None:
    """Print the requests for a sample command, and send none.

    Secrets are shown by their names and need not be there.
    """
    from stoploss.cli import controlling

    sample = controlling.Sample(action, exposure, experiment, flag, control, treatment, released, tuple(segment or ()))
    controlling.try_adapter(recipe, sample)
