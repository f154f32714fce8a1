"""The demo: starts everything, sends the traffic, watches what happens, and proves it afterwards."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from stoploss import __version__, journal
from stoploss.cli import asking, replaying
from stoploss.cli.sending import tracer_of
from stoploss.cli.stack import Stack
from stoploss.commands import Action
from stoploss.demo.cast import CAST, HEADLINE, Part
from stoploss.demo.observers import AlertReceiver, ControlWatch, SeenCommand
from stoploss.demo.pacing import paced
from stoploss.demo.report import Report, Story, show, timestamp
from stoploss.errors import StoplossError
from stoploss.flags import FlagReader
from stoploss.journal import CommandAcked, ExposuresCounted, JournalEntry
from stoploss.settings import Settings, load
from stoploss.simulate.arrivals import Arrivals, read_arrivals
from stoploss.simulate.assign import Arms, Assign, Assigned, arms_of
from stoploss.simulate.harm import inject
from stoploss.simulate.population import Population
from stoploss.simulate.traffic import Traffic
from stoploss.store import queries
from stoploss.store.client import connect
from streams.appender import Appender
from streams.reading import whole
from streams.registry_view import RegistryView

# Fewer processes than `up`: the demo shares two cores with the broker and with the services it plays.
GROUPS = (("intake", "joiner"), ("judge",), ("registrar", "courier", "recorder"))
MALFORMED = (b"", b"\xc3\x01not a schema's fingerprint", b'{"trace_id": "cut off')
READY_TIMEOUT_S, SETTLE_TIMEOUT_S = 90.0, 90.0


@dataclass(slots=True)
class Sent:
    """What was sent, and when the first harmful trace of each experiment was handed over."""

    traces: int = 0
    dropped: int = 0
    seconds: float = 0.0
    first_harm_s: dict[str, float] = field(default_factory=dict)


def demo(*, traces: int, seed: int, arrivals: Path | None, seconds: float, report: Path | None) -> Report:
    """Runs it all and prints the report; raises StoplossError where something did not happen in time."""
    console = Console()
    log = read_arrivals(arrivals) if arrivals else None
    home = load().home / "demo"
    shutil.rmtree(home, ignore_errors=True)
    alerts = AlertReceiver()
    settings = load(
        home=home, kafka="", clickhouse_url="", ledger_partitions=4, webhook_url=alerts.url, log_level="WARNING"
    )
    began_s = time.monotonic()
    try:
        with Stack(settings, lambda said: console.print(f"[dim]{said}[/dim]", highlight=False), GROUPS) as stack:
            result = _run(stack, log, traces, seed, seconds, console, began_s)
            result.alerts = sorted({alert["labels"]["alertname"] for alert in alerts.alerts})
    finally:
        alerts.close()
    show(result, console)
    if report is not None:
        result.write(report)
        console.print(f"\nreport: {report}")
    return result


def _run(
    stack: Stack, log: Arrivals | None, traces: int, seed: int, seconds: float, console: Console, began_s: float
) -> Report:
    settings = stack.settings
    watch = ControlWatch(settings)
    _begin_experiments(settings, console)
    flags = FlagReader(stack.flag_file)
    view = RegistryView(settings.need_kafka(), settings.topics("registry")).start()
    _until(lambda: all(_is_live(flags, part) for part in CAST), READY_TIMEOUT_S, "the flags did not go live")
    ready_s = time.monotonic() - began_s
    traffic, label = _traffic(flags, log, traces, seed, seconds)
    sent = _send(settings, traffic, log, traces, stack, console)
    result = Report(label, sent.traces, traces_dropped=sent.dropped, malformed_sent=len(MALFORMED))
    result.seconds_to_ready = round(ready_s, 1)
    result.traces_per_second = round(sent.traces / sent.seconds, 1)
    with console.status("waiting until everything is judged and stored"):
        _settle(settings, sent)
    watch.close()
    _tell(result, settings, sent, watch.seen, view)
    view.stop()
    flags.close()
    return result


def _begin_experiments(settings: Settings, console: Console) -> None:
    for part in CAST:
        name = part.experiment.name
        asking.send(settings, asking.request_of("register", name, "demo", spec=part.text))
        asking.send(settings, asking.request_of("start", name, "demo", exposure=0.5))
        console.print(f"started [bold]{name}[/bold]: {part.story}", highlight=False)


def _is_live(flags: FlagReader, part: Part) -> bool:
    experiment = part.experiment
    return flags.assign(experiment.spec.assignment.flag, experiment.control.name, "anybody").run is not None


def _until(condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise StoplossError(f"{otherwise} within {timeout_s:.0f} s; the logs stand in the home directory")
        time.sleep(0.05)


# ---- traffic -------------------------------------------------------------------------------------


def _traffic(flags: FlagReader, log: Arrivals | None, traces: int, seed: int, seconds: float) -> tuple[Traffic, str]:
    """Each request asks the live flag file which variant it gets, as a service does."""
    arms = tuple(_arms(flags, part) for part in CAST)
    population = Population()
    harms = tuple(inject(part.harm, part.experiment.name, part.after * seconds, population) for part in CAST)
    arriving = log.compressed(log.duration_s / seconds) if log else None
    traffic = Traffic(
        seed=seed,
        arms=arms,
        harms=harms,
        population=population,
        arrivals=arriving,
        starts_at=time.time_ns() // 1_000,
        rate_per_s=traces / seconds,
    )
    drawn = "drawn from distributions fitted to published figures (simulate/behaviour.py); harm is injected"
    return traffic, arriving.label if arriving else drawn


def _arms(flags: FlagReader, part: Part) -> Arms:
    experiment = part.experiment
    return arms_of(experiment, assign=_assign(flags, experiment.spec.assignment.flag, experiment.control.name))


def _assign(flags: FlagReader, flag: str, control: str) -> Assign:
    def assign(unit_id: str) -> Assigned:
        return flags.assign(flag, control, unit_id)

    return assign


def _send(
    settings: Settings, traffic: Traffic, log: Arrivals | None, traces: int, stack: Stack, console: Console
) -> Sent:
    total = len(log) if log else traces
    sent = Sent()
    tracer = tracer_of(settings, "demo", mask_text=False)
    _send_malformed(settings)
    started_s = time.monotonic()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,.0f} traces"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("services send their traces", total=total)
        for simulated in paced(traffic.traces(total)):
            for experiment in simulated.harmed:
                sent.first_harm_s.setdefault(experiment, time.time())
            tracer.record(**simulated.trace)
            sent.traces += 1
            if sent.traces % 100 == 0:
                progress.update(task, completed=sent.traces)
                for sentence in stack.watch():
                    console.print(f"[red]{sentence}[/red]", highlight=False)
    sent.seconds = time.monotonic() - started_s
    tracer.close(30.0)
    sent.dropped = sum(tracer.stats.dropped.values())
    return sent


def _send_malformed(settings: Settings) -> None:
    """Three records that nobody can read: they must end as dead letters and harm no neighbour."""
    appender = Appender(settings.need_kafka())
    for value in MALFORMED:
        appender.append(settings.topics("traces"), value)
    appender.flush()


# ---- afterwards ----------------------------------------------------------------------------------


def _settle(settings: Settings, sent: Sent) -> None:
    """Until every trace is stored, and every stopped experiment has said how many requests came after."""
    client = connect(settings.need_clickhouse(), database=settings.clickhouse_database)

    def stored() -> bool:
        time.sleep(0.5)
        return queries.trace_count(client) >= sent.traces - sent.dropped

    _until(stored, SETTLE_TIMEOUT_S, "not every trace was stored")
    time.sleep(4)  # two quiet seconds of ledger time, after which exposures after the stop are final


def _tell(result: Report, settings: Settings, sent: Sent, seen: list[SeenCommand], view: RegistryView) -> None:
    client = connect(settings.need_clickhouse(), database=settings.clickhouse_database)
    result.traces_stored = queries.trace_count(client)
    result.dead_lettered = sum(row.records for row in queries.dead_letters(client))
    entries = list(_journal(settings))
    result.journal_entries = len(entries)
    result.commands = [_command_row(command) for command in seen]
    for part in CAST:
        result.experiments.append(_story(part, settings, sent, seen, view, entries))
    headline = next(story for story in result.experiments if story.experiment == HEADLINE.experiment.name)
    for name in (
        "first_harm_at",
        "command_at",
        "seconds_harm_to_command",
        "seconds_command_to_flag",
        "exposures_after_stop",
    ):
        setattr(result, name, getattr(headline, name))
    result.replay_identical = all(story.replay_identical for story in result.experiments)
    result.versions = versions(str(client.server_version))


def _journal(settings: Settings) -> Iterator[JournalEntry]:
    for message in whole(settings.need_kafka(), settings.topics("journal")):
        yield journal.decode(message.value())


def _command_row(seen: SeenCommand) -> dict[str, object]:
    row = {name: value for name, value in asdict(seen.command).items() if name not in ("evidence", "stopped_segments")}
    return {**row, "action": str(seen.command.action), "seen_at": timestamp(seen.seen_at_s)}


def _story(
    part: Part,
    settings: Settings,
    sent: Sent,
    seen: list[SeenCommand],
    view: RegistryView,
    entries: list[JournalEntry],
) -> Story:
    name = part.experiment.name
    entry = view.get(name)
    story = Story(name, part.story, part.harm, entry.lifecycle if entry else "unknown")
    mine = [e for e in entries if e.experiment == name]
    story.journal_entries = len(mine)
    story.replay_identical = replaying.comparison(settings, name, "clickhouse").identical
    harm_s = sent.first_harm_s.get(name)
    story.first_harm_at = timestamp(harm_s) if harm_s else None
    answer = next((s for s in seen if s.command.experiment == name and s.command.action != Action.SET_EXPOSURE), None)
    if answer is not None:
        _tell_answer(story, answer, harm_s, mine)
    return story


def _tell_answer(story: Story, answer: SeenCommand, harm_s: float | None, entries: list[JournalEntry]) -> None:
    command = answer.command
    story.action, story.reason = str(command.action), command.reason
    story.command_at = timestamp(answer.seen_at_s)
    if harm_s is not None:
        story.seconds_harm_to_command = round(answer.seen_at_s - harm_s, 4)
    for entry in entries:
        match entry.conclusion:
            case CommandAcked(command_id=command.command_id, status="applied"):
                story.seconds_command_to_flag = round(max(0.0, entry.at / 1e6 - answer.seen_at_s), 4)
            case ExposuresCounted(command_id=command.command_id) as counted:
                story.in_flight_at_stop, story.exposures_after_stop = counted.in_flight, counted.after_stop


def versions(clickhouse: str) -> dict[str, str]:
    names = ("faust-streaming", "confluent-kafka", "aiokafka", "river", "numpy", "polars", "chdb")
    found = {name: importlib.metadata.version(name) for name in names}
    return {
        "stoploss": __version__,
        "python": platform.python_version(),
        "clickhouse": clickhouse,
        "kafka": "4.3.0",
        **found,
    }
