"""The command line. Commands are thin and import what they need when they run, so that `--help` is quick.

Exit codes: 0 done; 1 refused, not found or given up, told in one sentence; 2 the command line itself is wrong; 3 the
answer is no (a replay that differs, a doctor who finds something); 70 a worker could not go on and wants to be started
again; 130 ended by Ctrl-C, except `up`, `worker` and `controller`, whose ordinary end it is.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from stoploss.cli import dead_letter_commands
from stoploss.errors import InvalidExperiment, StoplossError

REFUSED, ANSWER_IS_NO = 1, 3


class Role(StrEnum):
    """What a worker can be: the names of streams.worker.ROLES, which are slow to import."""

    INTAKE = "intake"
    JOINER = "joiner"
    REGISTRAR = "registrar"
    JUDGE = "judge"
    COURIER = "courier"
    RECORDER = "recorder"


app = typer.Typer(
    name="stoploss",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Experiment = Annotated[str, typer.Argument(help="Name of the experiment.", metavar="EXPERIMENT")]
Why = Annotated[str, typer.Option("--reason", "-m", help="Why; kept for good.")]
Share = Annotated[float | None, typer.Option(min=0.0001, max=1.0, help="Share of traffic of the treatment variant.")]


def main() -> None:
    """Runs a command; an error is one sentence and a way out, never a traceback."""
    try:
        app(prog_name="stoploss")
    except InvalidExperiment as error:
        _refuse(*(f"{error.name}: {violation}" for violation in error.violations))
    except StoplossError as error:
        _refuse(f"stoploss: {error}")
    except OSError as error:
        _refuse(f"stoploss: {error.filename or 'the system'}: {error.strerror or error}")
    except Exception as error:
        # The drivers are slow to import: only an error that nobody above expected is compared with theirs.
        from stoploss.cli import addresses

        if not isinstance(error, addresses.driver_errors()):
            raise
        _refuse(f"stoploss: {addresses.first_line(error)}; try again, or look with `stoploss doctor`")


def _refuse(*sentences: str) -> None:
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    sys.exit(REFUSED)


# ---- running ---------------------------------------------------------------------------------------


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

    Roles: intake, joiner, registrar, judge, courier, recorder.
    """
    from stoploss.cli import running

    running.worker([role.value for role in roles])


@app.command()
def controller(
    file: Annotated[Path, typer.Option("--file", help="Flag definition file of flagd.")],
    name: Annotated[str, typer.Option(help="Name of the controller, as specs require it.")] = "flagd",
    instance: Annotated[str, typer.Option(help="Name of this instance.")] = "one",
) -> None:
    """Keep a flagd file as the commands want it, and acknowledge."""
    from stoploss.cli import running

    running.controller(file, name, instance)


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
) -> None:
    """Make the key pair that signs commands."""
    from stoploss.cli import running

    running.keys(break_glass)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check addresses, topics, clock, versions, keys and disk."""
    from stoploss.cli import checking

    if not checking.doctor(as_json):
        raise typer.Exit(ANSWER_IS_NO)


# ---- requests --------------------------------------------------------------------------------------


@app.command()
def register(
    file: Annotated[Path, typer.Argument(help="The experiment's YAML.", metavar="FILE.yaml")],
    reason: Why = "",
    as_json: Json = False,
) -> None:
    """Register an experiment.

    What is wrong with the file is named with line and field.
    """
    from stoploss.cli import asking

    asking.register(file, reason, as_json)


@app.command()
def start(experiment: Experiment, exposure: Share = None, reason: Why = "", as_json: Json = False) -> None:
    """Start an experiment, at its first stage or at --exposure."""
    from stoploss.cli import asking

    asking.ask("start", experiment, reason, as_json, exposure)


@app.command()
def pause(experiment: Experiment, reason: Why = "", as_json: Json = False) -> None:
    """Take the treatment out of traffic; a resume follows."""
    from stoploss.cli import asking

    asking.ask("pause", experiment, reason, as_json)


@app.command()
def resume(experiment: Experiment, exposure: Share = None, reason: Why = "", as_json: Json = False) -> None:
    """Begin a new run after a hold, pause, stop or rollback.

    It starts at the first stage, or at --exposure.
    """
    from stoploss.cli import asking

    asking.ask("resume", experiment, reason, as_json, exposure)


@app.command()
def stop(experiment: Experiment, reason: Why = "", as_json: Json = False) -> None:
    """Stop an experiment: nobody gets the treatment."""
    from stoploss.cli import asking

    asking.ask("stop", experiment, reason, as_json)


@app.command()
def rollback(experiment: Experiment, reason: Why = "", as_json: Json = False) -> None:
    """Give everybody the variant that the spec rolls back to."""
    from stoploss.cli import asking

    asking.ask("rollback", experiment, reason, as_json)


@app.command(name="break-glass")
def stop_past_the_monitor(
    experiment: Experiment,
    to: Annotated[  # noqa: ARG001 (said aloud, for there is no other way)
        Literal["control"], typer.Option("--to", help="Whom everybody is given to: the control variant.")
    ],
    reason: Why = "",
    key: Annotated[Path | None, typer.Option("--key", help="Private key; break-glass.key of the home without.")] = None,
    as_json: Json = False,
) -> None:
    """Stop past the monitor, with a key of people.

    For when the monitor is down or wrong. It can only take the treatment away, and holds until a resume. The exit code
    is 3 where not every required controller has applied it.
    """
    from stoploss.cli import break_glass

    if not break_glass.break_glass(experiment, reason, key, as_json):
        raise typer.Exit(ANSWER_IS_NO)


# ---- reading ---------------------------------------------------------------------------------------


@app.command()
def status(as_json: Json = False) -> None:
    """All experiments and their state."""
    from stoploss.cli import addresses, reading

    reading.status(addresses.connected(), as_json)


@app.command()
def watch(
    experiment: Annotated[str | None, typer.Argument(help="One experiment; all without.", metavar="EXPERIMENT")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    as_json: Json = False,
) -> None:
    """A live table of arms, verdicts and commands."""
    from stoploss.cli import addresses, reading

    reading.watch(addresses.resolved(), experiment, once, as_json)


@app.command()
def explain(experiment: Experiment, as_json: Json = False) -> None:
    """The chain from evidence to command."""
    from stoploss.cli import addresses, reading

    reading.explain(addresses.resolved(), experiment, as_json)


@app.command()
def review(
    experiment: Experiment,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write Markdown here.")] = None,
    as_json: Json = False,
) -> None:
    """The review: hypothesis, guardrails, decision and why.

    With variants, intervals, commands, acknowledgements and exposures after the stop.
    """
    from stoploss.cli import addresses, reading

    reading.review(addresses.resolved(), experiment, output, as_json)


@app.command()
def replay(
    experiment: Experiment,
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

    if not replaying.replay(addresses.resolved(), experiment, source, rules, picture, as_json):
        raise typer.Exit(ANSWER_IS_NO)


Keys = Annotated[
    list[Path] | None, typer.Option("--key", help="Public key to trust; the installation's own without. Repeat it.")
]


@app.command()
def verify(
    what: Annotated[str, typer.Argument(help="Name of an experiment, or an archive.", metavar="EXPERIMENT|FILE")],
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


app.add_typer(dead_letter_commands.app, name="deadletter")


# ---- before the start ------------------------------------------------------------------------------

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


# ---- traffic ---------------------------------------------------------------------------------------


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


def _version(show: bool) -> None:
    if show:
        from stoploss import __version__

        print(f"stoploss {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[  # noqa: ARG001 - eager: its own callback has answered
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A stop-loss for GenAI experiments in production."""
    from stoploss import logs

    logs.to_stderr("WARNING")
