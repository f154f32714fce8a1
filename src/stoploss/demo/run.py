"""The demo: starts everything, sends the traffic, tells what happens, and proves it afterwards."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.text import Text

from stoploss.cli import addresses, asking
from stoploss.cli.output import console
from stoploss.cli.stack import Stack
from stoploss.demo import services
from stoploss.demo.cast import CAST, HEADLINE, Part
from stoploss.demo.findings import answer_to, find
from stoploss.demo.narrator import Narrator
from stoploss.demo.observers import AlertReceiver, Watch
from stoploss.demo.report import Report
from stoploss.demo.services import Plan, Sent, Services, traffic_of
from stoploss.demo.showing import show
from stoploss.errors import ConfigurationError, RequestRefused, StoplossError
from stoploss.experiment import Experiment
from stoploss.flags import FlagReader
from stoploss.journal import ExposuresCounted
from stoploss.settings import Settings, load
from stoploss.simulate.arrivals import read_arrivals
from stoploss.store import queries
from stoploss.store.client import connect
from streams.registry_view import RegistryView

# Fewer processes than `up`: the demo shares two cores with the broker and with the services it plays.
GROUPS = (("intake", "joiner"), ("judge",), ("registrar", "courier", "recorder", "resolver"))
LEDGER_PARTITIONS = 4
EXPOSURE = 0.5
READY_TIMEOUT_S, STORED_TIMEOUT_S, COUNTED_TIMEOUT_S = 90.0, 90.0, 10.0
POLL_S = 0.25
FINAL_AFTER_S = 3.0
"""Exposures after a stop are counted anew until two seconds of the ledger's time have passed without one."""


def demo(*, traces: int, seed: int, arrivals: Path | None, seconds: float, report: Path | None) -> Report:
    """Runs it all and prints the report; raises StoplossError where something did not happen in time."""
    plan = Plan(traces, seed, seconds, read_arrivals(arrivals) if arrivals else None)
    if report is not None and not report.absolute().parent.is_dir():
        raise ConfigurationError(f"the report cannot be written to {report}: there is no directory of that name")
    home = load().home / "demo"
    with addresses.held(home):
        _empty(home)
        result = _run(plan, home)
    if report is not None:
        result.write(report)
    _tell_the_way(home, report)
    return result


def _empty(home: Path) -> None:
    """Each demo begins anew; the lock stays, for it is held."""
    for path in home.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != addresses.LOCK:
            path.unlink()


def _tell_the_way(home: Path, report: Path | None) -> None:
    """Where everything stands, and the commands that show it again."""
    screen, program = console(), _program()
    screen.print()
    screen.print(Text("Look further", style="bold"))
    for line in (
        f"  export STOPLOSS_HOME={home}   # in two terminals",
        f"  {program} up   # in the first: the same data again",
        f"  {program} explain {HEADLINE.experiment.name}   # in the second: from evidence to command",
        f"  {program} review {HEADLINE.experiment.name}   # the whole document; also status, watch, replay",
    ):
        screen.print(Text(line), soft_wrap=True)
    where = f"; report: {report}" if report else ""
    screen.print(Text(f"Data: {home}; logs: {home / 'logs'}{where}", style="dim"), soft_wrap=True)


def _program() -> str:
    """What the user types: the command where the shell finds it, else the path that was typed."""
    called = Path(sys.argv[0])
    found = shutil.which("stoploss")
    if called.name != "stoploss" or (found and Path(found).resolve() == called.resolve()):
        return "stoploss"
    return str(called)


def _run(plan: Plan, home: Path) -> Report:
    """From the start of everything to its end, and the result on the screen."""
    screen = console()
    narrator = Narrator(screen)
    alerts = AlertReceiver()
    settings = _settings(home, alerts.url)
    began_s = time.monotonic()
    narrator.chapter("Everything starts on this machine: Apache Kafka, ClickHouse, the roles")
    try:
        with Stack(settings, narrator.aside, GROUPS) as stack, addresses.written(stack.settings):
            result = Play(plan, stack, narrator, began_s).perform()
            result.alerts = alerts.names
    finally:
        alerts.close()
    show(result, screen)
    return result


def _settings(home: Path, webhook_url: str) -> Settings:
    """Everything is the demo's own: no flag file, broker or on-call of the user's is touched, whatever is set."""
    return load(
        home=home,
        kafka="",
        clickhouse_url="",
        ledger_partitions=LEDGER_PARTITIONS,
        flagd_file=home / "flags.json",
        alertmanager_url="",
        webhook_url=webhook_url,
        log_level="WARNING",
    )


@dataclass(slots=True)
class Play:
    """The demo on a running stack, act by act."""

    plan: Plan
    stack: Stack
    narrator: Narrator
    began_s: float

    def perform(self) -> Report:
        settings = self.stack.settings
        with ExitStack() as ending:
            watch = Watch(settings, self.narrator.hear)
            ending.callback(watch.close)
            self._begin_experiments()
            view = RegistryView(settings.need_kafka(), settings.topics("registry")).start()
            ending.callback(view.stop)
            flags = FlagReader(self.stack.flag_file)
            ending.callback(flags.close)
            self._until(
                lambda: all(_is_live(flags, part) for part in CAST),
                READY_TIMEOUT_S,
                "the flags did not go live",
                "controller.log",
            )
            report = Report(self.plan.label, malformed_sent=len(services.MALFORMED))
            report.seconds_to_ready = round(time.monotonic() - self.began_s, 1)
            sent = self._send(flags)
            self._settle(sent, watch)
            find(report, settings, sent, watch, view)
        return report

    def _begin_experiments(self) -> None:
        self.narrator.chapter("Three experiments begin on the same traffic")
        experiments = [(part.experiment, part.text) for part in CAST]
        for experiment, _ in experiments:
            self.narrator.aside(f"{experiment.name}: {experiment.spec.hypothesis}")
        with ThreadPoolExecutor() as side_by_side:
            list(side_by_side.map(self._begin, experiments))

    def _begin(self, named: tuple[Experiment, str]) -> None:
        experiment, text = named
        self._ask("register", experiment.name, spec=text)
        self._ask("start", experiment.name, exposure=EXPOSURE)

    def _ask(self, action: str, experiment: str, *, spec: str | None = None, exposure: float | None = None) -> None:
        request = asking.request_of(action, experiment, "demo", spec=spec, exposure=exposure)
        try:
            asking.send(self.stack.settings, request)
        except RequestRefused as error:
            raise StoplossError(f"{error}; what the roles say stands in {self.stack.logs}") from error

    def _send(self, flags: FlagReader) -> Sent:
        plan = self.plan
        self.narrator.chapter(f"Services send {plan.total:,} traces within {plan.seconds:.0f} s (times are UTC)")
        self.narrator.aside(plan.label)
        stories = {part.experiment.name: part.story for part in CAST}
        sending = Services(
            self.stack.settings,
            self.narrator.console,
            harm=lambda at_s, experiment: self.narrator.harm(at_s, experiment, stories[experiment]),
            between=self._look,
        )
        traffic = traffic_of(plan, lambda part: services.asking(flags, part), time.time())
        return sending.send(traffic, plan.total)

    def _settle(self, sent: Sent, watch: Watch) -> None:
        """Until every trace is stored, and every stopped experiment has said how many requests came after."""
        settings = self.stack.settings
        client = connect(settings.need_clickhouse(), database=settings.clickhouse_database)
        with self.narrator.console.status("waiting until everything is judged and stored"):
            self._until(
                lambda: _stored(client) >= sent.traces - sent.dropped,
                STORED_TIMEOUT_S,
                "not every trace was stored",
                "+".join(GROUPS[-1]) + ".log",
            )
            deadline_s = time.monotonic() + COUNTED_TIMEOUT_S
            while not _all_counted(watch) and time.monotonic() < deadline_s:
                self._look()
                time.sleep(POLL_S)
        watch.check()

    def _until(self, condition: Callable[[], bool], timeout_s: float, otherwise: str, log: str) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                raise StoplossError(
                    f"{otherwise} within {timeout_s:.0f} s; read {self.stack.logs / log}, and the logs beside it"
                )
            self._look()
            time.sleep(POLL_S)

    def _look(self) -> None:
        for sentence in self.stack.watch():
            self.narrator.trouble(sentence)


def _is_live(flags: FlagReader, part: Part) -> bool:
    experiment = part.experiment
    return flags.assign(experiment.spec.assignment.flag, experiment.control.name, "anybody").run is not None


def _stored(client: Client) -> int:
    try:
        return queries.trace_count(client)
    except ClickHouseError:  # the recorder has not made its tables yet; whoever waits gives up in time
        return 0


def _all_counted(watch: Watch) -> bool:
    """Every stopped experiment has said how many requests came after, and nothing was added for a while."""
    return all(_counted(watch, part.experiment.name) for part in CAST)


def _counted(watch: Watch, experiment: str) -> bool:
    answer = answer_to(experiment, watch.commands)
    if answer is None:
        return True
    said_at_s = [
        entry.at / 1e6
        for entry in watch.journal
        if isinstance(entry.conclusion, ExposuresCounted) and entry.conclusion.command_id == answer.command.command_id
    ]
    return bool(said_at_s) and time.time() - said_at_s[-1] > FINAL_AFTER_S
