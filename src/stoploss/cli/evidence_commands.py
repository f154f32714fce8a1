"""Commands about evidence: judge it again, check it, keep it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stoploss.cli.options import ANSWER_IS_NO, REFUSED, Experiment, Json

app = typer.Typer()


@app.command()
def replay(
    what: Annotated[
        str, typer.Argument(help="Name of an experiment, or an archive or incident pack.", metavar="EXPERIMENT|PATH")
    ],
    source: Annotated[
        str, typer.Option("--from", help="kafka, clickhouse, or an archive.", metavar="SOURCE")
    ] = "kafka",
    rules: Annotated[Path | None, typer.Option(help="Another spec: what it would have done.")] = None,
    picture: Annotated[Path | None, typer.Option(help="With --rules: draw that here, as .svg.")] = None,
    as_json: Json = False,
) -> None:
    """Judge the ledger again and compare with the journal.

    Where several versions judged it, each span is compared; the exit code is 3 where this version does not reproduce
    its own. With --rules, another spec of the experiment judges what was recorded: sooner or later stops, exposures
    saved or added, new stops and their cause.
    """
    from stoploss.cli import addresses, replaying

    if not replaying.replay(addresses.resolved(), what, source, rules, picture, as_json):
        raise typer.Exit(ANSWER_IS_NO)


Keys = Annotated[
    list[Path] | None, typer.Option("--key", help="Public key to trust; the installation's own without. Repeat it.")
]


@app.command()
def verify(
    what: Annotated[
        str, typer.Argument(help="Name of an experiment, or an archive or incident pack.", metavar="EXPERIMENT|PATH")
    ],
    key: Keys = None,
    as_json: Json = False,
) -> None:
    """Check a journal: every link, every signature.

    From ClickHouse, or offline from a file of `archive`. The exit code is 1 where anything is not as the monitor wrote
    it; then the first such thing is named.
    """
    from stoploss.cli import addresses, verifying

    if not verifying.verify(addresses.resolved(), what, key or (), as_json):
        raise typer.Exit(REFUSED)


@app.command()
def archive(
    experiment: Experiment,
    output: Annotated[Path, typer.Option("--output", "-o", help="Write the archive here.")],
    key: Keys = None,
    as_json: Json = False,
) -> None:
    """Write all evidence of an experiment into one file.

    Ledger, journal, commands and checkpoints, from ClickHouse: for `verify`, and for `replay --from FILE`.
    """
    from stoploss.cli import addresses, archiving

    archiving.archive(addresses.resolved(), experiment, output, key or (), as_json)
