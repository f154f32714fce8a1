"""emit and simulate: traces onto the topic, as services send them."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from stoploss.cli.progress import progress, working
from stoploss.emit import Tracer
from stoploss.errors import RequestRefused
from stoploss.lifecycle import LIVE, WAITING
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from stoploss.simulate.assign import Assign, Assigned, arms_of, sticky
from stoploss.simulate.harm import HARMS, inject
from stoploss.simulate.pacing import paced
from stoploss.simulate.population import Population
from stoploss.simulate.traffic import Traffic
from stoploss.spec.file import parse_experiment
from streams.registry_view import RegistryView


def tracer_of(settings: Settings, service: str, *, mask_text: bool = True) -> Tracer:
    """A tracer whose losses its user tells: neither it nor librdkafka writes to the terminal."""
    logging.getLogger("stoploss.emit").addHandler(logging.NullHandler())
    names = settings.topics
    return Tracer(
        settings.need_kafka(),
        service=service,
        topic=names("traces"),
        outcomes_topic=names("outcomes"),
        assignments_topic=names("assignments"),
        queue_size=50_000,
        mask_text=mask_text,
    )


def emit(settings: Settings, file: Path) -> None:
    """Sends recorded requests as they are, their times included; none of them where one cannot be read."""
    from stoploss.cli.recorded import recorded
    from streams.appender import Appender

    with working(f"reading {file.name}"):
        total = sum(1 for _ in recorded(file))
    appender = Appender(settings.need_kafka())
    with progress(f"sending {file.name}", total) as advance:
        for trace in recorded(file):
            appender.append(settings.topics("traces"), trace)
            advance()
        appender.flush()
    print(f"{total:,} traces sent; what intake refuses stands in the dead letters, with its reason")


def harms() -> None:
    for name, harm in HARMS.items():
        print(f"{name:<16} {harm.description}")


def simulate(
    settings: Settings, experiment: str, harm: str, traces: int, rate: float, after_s: float, seed: int
) -> None:
    view = RegistryView(settings.need_kafka(), settings.topics("registry")).start()
    try:
        traffic = _traffic(view, experiment, harm, rate, after_s, seed)
        tracer = tracer_of(settings, "simulate", mask_text=False)
        _send(tracer, traffic, traces, f"{harm} in {experiment}")
        print(_sent(tracer, view.get(experiment)))
    finally:
        view.stop()


def _traffic(view: RegistryView, experiment: str, harm: str, rate: float, after_s: float, seed: int) -> Traffic:
    population = Population()
    injected = inject(harm, experiment, after_s, population)
    spec = parse_experiment(_live_entry(view, experiment).spec)
    arms = arms_of(spec, assign=_following(view, experiment, spec.control.name, spec.treatment.name))
    return Traffic(
        seed=seed,
        arms=(arms,),
        harms=(injected,),
        population=population,
        starts_at=time.time_ns() // 1_000,
        rate_per_s=rate,
    )


def _live_entry(view: RegistryView, experiment: str) -> RegistryEntry:
    """Raises RequestRefused where no request could meet the treatment."""
    entry = view.get(experiment)
    if entry is None:
        known = ", ".join(sorted(entry.experiment for entry in view.entries())) or "none"
        raise RequestRefused(f"experiment {experiment!r} is not registered; registered: {known}")
    if entry.lifecycle not in LIVE:
        action = "start" if entry.lifecycle in WAITING else "resume"
        raise RequestRefused(
            f"experiment {experiment!r} is {plain(entry.lifecycle)}, so nobody gets its treatment; "
            f"`stoploss {action} {experiment}` first"
        )
    return entry


def plain(lifecycle: str) -> str:
    """
    >>> plain("rolled_back")
    'rolled back'
    """
    return lifecycle.replace("_", " ")


def _send(tracer: Tracer, traffic: Traffic, traces: int, title: str) -> None:
    """Under ids of this run: the same seed again is the same traffic, and other requests."""
    run = os.urandom(4).hex()
    with progress(title, traces) as advance:
        for simulated in paced(traffic.traces(traces)):
            tracer.record(**{**simulated.trace, "trace_id": f"{simulated.trace['trace_id'][:24]}{run}"})
            advance()
    tracer.close()


def _sent(tracer: Tracer, entry: RegistryEntry | None) -> str:
    dropped = sum(tracer.stats.dropped.values())
    lost = f", {dropped:,} lost on the way to Kafka" if dropped else ""
    now = f"; {entry.experiment} is now {plain(entry.lifecycle)}" if entry else ""
    return f"{tracer.stats.delivered:,} traces sent{lost}{now}"


def _following(view: RegistryView, experiment: str, control: str, treatment: str) -> Assign:
    """Assigns as the experiment's desired state says, which a command changes."""

    def assign(unit_id: str) -> Assigned:
        entry = view.get(experiment)
        assert entry is not None
        chosen = sticky(experiment, control=control, treatment=treatment, exposure=entry.exposure)(unit_id)
        return Assigned(chosen.variant, entry.run, entry.epoch)

    return assign
