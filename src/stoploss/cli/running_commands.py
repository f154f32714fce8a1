"""Commands that run something, or look whether it runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stoploss.cli.options import ANSWER_IS_NO, Json

app = typer.Typer()


class Role(StrEnum):
    """What a worker can be: the names of streams.worker.ROLES, which are slow to import."""

    INTAKE = "intake"
    JOINER = "joiner"
    RESOLVER = "resolver"
    REGISTRAR = "registrar"
    JUDGE = "judge"
    COURIER = "courier"
    RECORDER = "recorder"
    OTLP = "otlp"


@app.command()
def up() -> None:
    """Run everything here, until Ctrl-C.

    Kafka and ClickHouse are started where no address is set, and one process per role.
    """
    from stoploss.cli import running

    running.up()


@app.command()
def worker(roles: Annotated[list[Role], typer.Argument(help="What this process does.", metavar="ROLE")]) -> None:
    """Run one or several roles in this process.

    Roles: intake, joiner, resolver, registrar, judge, courier, recorder, otlp.
    """
    from stoploss.cli import running

    running.worker([role.value for role in roles])


@app.command()
def controller(
    file: Annotated[Path | None, typer.Option("--file", help="Flag definition file of flagd.")] = None,
    adapter: Annotated[
        str | None, typer.Option("--adapter", help="Adapter of a vendor: a file, or a recipe.", metavar="ADAPTER")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the controller, as specs require it: flagd, or the adapter's.")
    ] = None,
    instance: Annotated[str, typer.Option(help="Name of this instance.")] = "one",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; do nothing, acknowledge nothing.")
    ] = False,
    serve: Annotated[
        str | None, typer.Option(help="Serve the flag file there, as /flags.json.", metavar="HOST:PORT")
    ] = None,
) -> None:
    """Keep a flagd file, or a vendor, as the commands want it.

    Acknowledges each command: applied is what stands in the file, or what the vendor answered with a 2xx.
    """
    from stoploss.cli import controlling

    controlling.controller(file, adapter, name, instance, dry_run, serve)


@app.command()
def topics(
    show: Annotated[bool, typer.Option("--print", help="Print what would be created; touch nothing.")] = False,
    acls: Annotated[bool, typer.Option("--acls", help="The ACLs of every role instead of the topics.")] = False,
    as_json: Json = False,
) -> None:
    """Create the topics that are missing, or print all of them."""
    from stoploss.cli import running

    (running.acls if acls else running.topics)(show, as_json)


@app.command()
def tables() -> None:
    """Create the tables of ClickHouse that are missing.

    A recorder does so by itself, unless its user may only insert.
    """
    from stoploss.cli import running

    running.tables()


@app.command()
def keys(
    break_glass: Annotated[bool, typer.Option("--break-glass", help="The pair of people, for `break-glass`.")] = False,
    person: Annotated[
        str | None, typer.Option("--person", help="The pair of one person or CI, to sign requests.", metavar="NAME")
    ] = None,
) -> None:
    """Make the key pair that signs commands."""
    from stoploss.cli import running

    if person is not None:
        running.person_keys(person)
    else:
        running.keys(break_glass)


@app.command()
def credentials(
    directory: Annotated[Path, typer.Argument(help="Made; it must not be there yet.", metavar="DIR")],
    hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            help="Name or address at which clients reach the brokers; repeat it. Default: kafka, localhost, 127.0.0.1.",
            metavar="HOST",
        ),
    ] = None,
) -> None:
    """Make certificates and passwords for a Kafka with ACLs.

    ca.pem is what clients trust, broker.pem what the broker shows, USER.password what each user of `stoploss topics
    --acls` proves itself with. For one machine: where it matters, use your own authority and store of secrets.
    """
    from stoploss.cli import running

    running.credentials(directory, hosts or ["kafka", "localhost", "127.0.0.1"])


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check addresses, topics, clock, versions, keys and disk."""
    from stoploss.cli import checking

    if not checking.doctor(as_json):
        raise typer.Exit(ANSWER_IS_NO)
