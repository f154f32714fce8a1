"""The services of the demo: they ask the live flag file which variant a request gets, and send its trace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from stoploss.cli.sending import tracer_of
from stoploss.demo.cast import CAST, Part
from stoploss.flags import FlagReader
from stoploss.settings import Settings
from stoploss.simulate.arrivals import Arrivals
from stoploss.simulate.assign import Assign, Assigned, arms_of
from stoploss.simulate.harm import inject
from stoploss.simulate.pacing import paced
from stoploss.simulate.population import Population
from stoploss.simulate.traffic import Simulated, Traffic
from streams.appender import Appender

MALFORMED = (b"", b"\xc3\x01not a schema's fingerprint", b'{"trace_id": "cut off')
"""Records that nobody can read: they must end as dead letters and harm no neighbour."""
DRAWN = "drawn from distributions fitted to published figures (simulate/behaviour.py); harm is injected"
CLOSE_TIMEOUT_S = 30.0
EVERY = 100
"""Traces between two looks at the processes and two moves of the bar."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be sent.

    traces   how many, where there is no log
    seed     of everything that is drawn
    seconds  how long it lasts; a log's time is compressed to that
    log      real arrivals and token counts; None: they are drawn too
    """

    traces: int
    seed: int
    seconds: float
    log: Arrivals | None = None

    @property
    def total(self) -> int:
        return len(self.log) if self.log else self.traces

    @property
    def arrivals(self) -> Arrivals | None:
        return self.log.compressed(self.log.duration_s / self.seconds) if self.log else None

    @property
    def label(self) -> str:
        """What is real and what is not."""
        arrivals = self.arrivals
        return arrivals.label if arrivals else DRAWN

    def begins_s(self, part: Part) -> float:
        """When a part's harm begins, seconds after the traffic."""
        return part.after * self.seconds


@dataclass(slots=True)
class Sent:
    """What was sent, and when the first harmful trace of each experiment was handed over."""

    traces: int = 0
    dropped: int = 0
    seconds: float = 0.0
    first_harm_s: dict[str, float] = field(default_factory=dict)


def traffic_of(plan: Plan, assign: Callable[[Part], Assign], starts_at_s: float) -> Traffic:
    """The same for the same plan and assignments, but for the times that `starts_at_s` gives it."""
    population = Population()
    return Traffic(
        seed=plan.seed,
        arms=tuple(arms_of(part.experiment, assign=assign(part)) for part in CAST),
        harms=tuple(inject(part.harm, part.experiment.name, plan.begins_s(part), population) for part in CAST),
        population=population,
        arrivals=plan.arrivals,
        starts_at=round(starts_at_s * 1e6),
        rate_per_s=plan.traces / plan.seconds,
    )


def asking(flags: FlagReader, part: Part) -> Assign:
    """Each request asks anew, so that a flag that flips is felt by the next one."""
    experiment = part.experiment
    flag, control = experiment.spec.assignment.flag, experiment.control.name

    def assign(unit_id: str) -> Assigned:
        return flags.assign(flag, control, unit_id)

    return assign


class Services:
    """Send a traffic at its own pace.

    harm     told once per experiment: when its first harmful trace was handed to the SDK, and its name
    between  called every now and then while it goes on
    """

    def __init__(
        self,
        settings: Settings,
        console: Console,
        *,
        harm: Callable[[float, str], None],
        between: Callable[[], None],
    ) -> None:
        self._settings, self._console = settings, console
        self._harm, self._between = harm, between

    def send(self, traffic: Traffic, total: int) -> Sent:
        sent = Sent()
        tracer = tracer_of(self._settings, "demo", mask_text=False)
        self._send_malformed()
        started_s = time.monotonic()
        with self._progress() as progress:
            task = progress.add_task("", total=total)
            for simulated in paced(traffic.traces(total)):
                self._note_harm(sent, simulated)
                tracer.record(**simulated.trace)
                sent.traces += 1
                if sent.traces % EVERY == 0:
                    progress.update(task, completed=sent.traces)
                    self._between()
        sent.seconds = time.monotonic() - started_s
        tracer.close(CLOSE_TIMEOUT_S)
        sent.dropped = sum(tracer.stats.dropped.values())
        return sent

    def _note_harm(self, sent: Sent, simulated: Simulated) -> None:
        for experiment in simulated.harmed:
            if experiment not in sent.first_harm_s:
                sent.first_harm_s[experiment] = time.time()
                self._harm(sent.first_harm_s[experiment], experiment)

    def _send_malformed(self) -> None:
        appender = Appender(self._settings.need_kafka())
        for value in MALFORMED:
            appender.append(self._settings.topics("traces"), value)
        appender.flush()

    def _progress(self) -> Progress:
        columns = (
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} traces"),
            TimeElapsedColumn(),
        )
        quiet = not self._console.is_terminal
        return Progress(TextColumn(" "), *columns, console=self._console, transient=True, disable=quiet)
