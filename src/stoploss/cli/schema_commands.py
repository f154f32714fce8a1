"""stoploss schemas: this version's schemas in a schema registry."""

from __future__ import annotations

from typing import Annotated

import typer

from stoploss.cli.options import ANSWER_IS_NO, Json

app = typer.Typer(no_args_is_help=True, help="Put the schemas into a schema registry, or compare.")

Registry = Annotated[
    str | None, typer.Option("--registry", help="Its address; STOPLOSS_SCHEMA_REGISTRY.", metavar="URL")
]


@app.command()
def push(registry: Registry = None, as_json: Json = False) -> None:
    """Register every version of every schema, and what the next may change.

    Each topic's subject gets FULL_TRANSITIVE or BACKWARD_TRANSITIVE. What the registry refuses is named, and the exit
    code is 3; the others are registered all the same.
    """
    from stoploss.cli import schemas

    if not schemas.push(registry, as_json):
        raise typer.Exit(ANSWER_IS_NO)


@app.command()
def check(registry: Registry = None, as_json: Json = False) -> None:
    """Say which schemas are there, are missing, or would be refused.

    Touches nothing. Exit code 3 where a push would change something or be refused: the step for CI.
    """
    from stoploss.cli import schemas

    if not schemas.check(registry, as_json):
        raise typer.Exit(ANSWER_IS_NO)
