"""Commands for before the start: what a plan promises, and what recorded traffic says of that."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stoploss.cli.options import ANSWER_IS_NO, Json, Share

app = typer.Typer()


Spec = Annotated[Path, typer.Argument(help="The experiment's YAML.", metavar="FILE.yaml")]
Requests = Annotated[
    Path | None, typer.Option(help="Recorded requests: JSONL or CSV of traces, or a log of arrivals and token counts.")
]


@app.command()
def plan(
    file: Spec,
    requests: Requests = None,
    baseline: Annotated[
        list[str] | None, typer.Option(help="Instead: METRIC=MEAN, or METRIC=MEAN,DEVIATION; repeat it.")
    ] = None,
    requests_per_hour: Annotated[float | None, typer.Option(min=0.001, help="Traffic of --baseline.")] = None,
    per_unit: Annotated[float, typer.Option(min=1, help="Requests of a unit in a day, of --baseline.")] = 1.0,
    icc: Annotated[float, typer.Option(min=0, max=0.99, help="How alike they are: intraclass correlation.")] = 0.0,
    times: Annotated[float, typer.Option(min=1.01, help="The harm that is planned for, in margins.")] = 2.0,
    hours: Annotated[float | None, typer.Option(min=0.01, help="How long the last stage lasts.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the plan here, as .svg.")] = None,
    as_json: Json = False,
) -> None:
    """How soon each guardrail finds harm, and at what price.

    From control's history (--requests, or the stored traces in ClickHouse) or from --baseline: time, units and
    exposures at each stage of the ramp, what can never fire, and the false stops that are promised.
    """
    from stoploss.cli import addresses, planning

    expected = planning.Expected(baseline or (), requests_per_hour, per_unit, icc)
    planning.plan(addresses.resolved(), file, requests, expected, times, hours, picture, as_json)


@app.command()
def calibrate(
    file: Spec,
    requests: Requests = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs without harm, twice.")] = 200,
    harm_runs: Annotated[int, typer.Option(min=0, help="Runs for each harm; 0: none.")] = 20,
    times: Annotated[list[float] | None, typer.Option(min=1.01, help="Sizes of harm, in margins; 2 and 4.")] = None,
    exposure: Share = None,
    looks: Annotated[int, typer.Option(min=5, max=10_000, help="Looks at the evidence in a run.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 1,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; as many as processors.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the same as Markdown here.")] = None,
    as_json: Json = False,
) -> None:
    """Measure false stops and delays on recorded requests.

    An A/A test on control's own requests, drawn again by unit, and known harm of stated sizes, both played to the
    judge itself. The exit code is 3 where a promise is not kept.
    """
    from stoploss.calibration.report import Asked
    from stoploss.cli import addresses, calibrating

    asked = Asked(runs, harm_runs, tuple(times or (2.0, 4.0)))
    settings = addresses.resolved()
    if not calibrating.calibrate(settings, file, requests, asked, exposure, looks, seed, jobs, out, as_json):
        raise typer.Exit(ANSWER_IS_NO)
