"""Commands that send traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stoploss.cli.options import Experiment

app = typer.Typer()


@app.command()
def emit(file: Annotated[Path, typer.Argument(help="JSONL, or CSV where the name ends so.", metavar="FILE")]) -> None:
    """Send recorded requests, from JSONL or CSV.

    JSONL: an object a line with the fields of schemas/trace.avsc. CSV: a column per field; lists and objects as JSON;
    `experiment` and `variant` may stand for `assignments`.
    """
    from stoploss.cli import addresses, sending

    sending.emit(addresses.connected(), file)


def _harms(show: bool) -> None:
    if show:
        from stoploss.cli import sending

        sending.harms()
        raise typer.Exit


@app.command()
def simulate(
    experiment: Experiment,
    harm: Annotated[str, typer.Option(help="Which harm; --harms lists them.")] = "aa",
    traces: Annotated[int, typer.Option(min=1, help="Requests to send.")] = 5_000,
    rate: Annotated[float, typer.Option(min=1, help="Requests a second.")] = 200.0,
    after: Annotated[float, typer.Option(min=0, help="Seconds before the harm begins.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 1,
    harms: Annotated[  # noqa: ARG001 (its callback answers)
        bool, typer.Option("--harms", is_eager=True, callback=_harms, help="List the harms.")
    ] = False,
) -> None:
    """Send seeded traffic with a known harm in the treatment."""
    from stoploss.cli import addresses, sending

    sending.simulate(addresses.connected(), experiment, harm, traces, rate, after, seed)


@app.command()
def demo(
    traces: Annotated[int, typer.Option(min=1_000, help="Requests, where no log is given.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 1,
    arrivals: Annotated[Path | None, typer.Option(help="CSV with TIMESTAMP, ContextTokens, GeneratedTokens.")] = None,
    seconds: Annotated[
        float, typer.Option(min=10, help="How long the traffic lasts; a log's time is compressed.")
    ] = 45.0,
    report: Annotated[Path | None, typer.Option(help="Write the report here, as JSON.")] = None,
) -> None:
    """The main job, end to end, on real parts.

    An Apache Kafka and a ClickHouse engine are started for it on this machine.
    """
    from stoploss.demo import run

    run.demo(traces=traces, seed=seed, arrivals=arrivals, seconds=seconds, report=report)
