"""emit and simulate: traces onto the topic, as services send them."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rich.progress import Progress

from stoploss.demo.pacing import paced
from stoploss.emit import Tracer
from stoploss.errors import ConfigurationError, RequestRefused
from stoploss.settings import Settings
from stoploss.simulate.assign import Assign, Assigned, arms_of, sticky
from stoploss.simulate.harm import HARMS, inject
from stoploss.simulate.population import Population
from stoploss.simulate.traffic import Traffic
from stoploss.spec_file import parse_experiment
from streams.registry_view import RegistryView


def tracer_of(settings: Settings, service: str, *, mask_text: bool = True) -> Tracer:
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
    """Sends the traces of a JSONL file as they are: a JSON object a line, with the fields of schemas/trace.avsc."""
    from streams.appender import Appender

    appender = Appender(settings.need_kafka())
    sent = 0
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                _require_object(file, number, line)
                appender.append(settings.topics("traces"), line.strip())
                sent += 1
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
    appender.flush()
    print(f"{sent} traces sent; what intake refuses stands in the dead letters, with its reason")


def _require_object(file: Path, number: int, line: bytes) -> None:
    try:
        known = isinstance(json.loads(line), dict)
    except ValueError:
        known = False
    if not known:
        raise ConfigurationError(f"{file} line {number} is no JSON object; write one trace a line")


def simulate(
    settings: Settings, experiment: str, harm: str, traces: int, rate: float, after_s: float, seed: int
) -> None:
    if harm == "list":
        for name, known in HARMS.items():
            print(f"{name:<20} {known.description}")
        return
    if harm not in HARMS:
        raise ConfigurationError(f"unknown harm {harm!r}; known: {', '.join(HARMS)}")
    view = RegistryView(settings.need_kafka(), settings.topics("registry")).start()
    entry = view.get(experiment)
    if entry is None or entry.run < 1:
        view.stop()
        raise RequestRefused(f"experiment {experiment!r} is not started; `stoploss start {experiment}` first")
    spec = parse_experiment(entry.spec)
    population = Population()
    arms = arms_of(spec, assign=_following(view, experiment, spec.control.name, spec.treatment.name))
    traffic = Traffic(
        seed=seed,
        arms=(arms,),
        harms=(inject(harm, experiment, after_s, population),),
        population=population,
        starts_at=time.time_ns() // 1_000,
        rate_per_s=rate,
    )
    tracer = tracer_of(settings, "simulate", mask_text=False)
    with Progress(transient=True) as progress:
        task = progress.add_task(f"{harm} in {experiment}", total=traces)
        for simulated in paced(traffic.traces(traces)):
            tracer.record(**simulated.trace)
            progress.advance(task)
    tracer.close()
    state = view.get(experiment)
    view.stop()
    print(f"{tracer.stats.delivered} traces sent; {experiment} is now {state.lifecycle if state else 'unknown'}")


def _following(view: RegistryView, experiment: str, control: str, treatment: str) -> Assign:
    """Assigns as the experiment's desired state says, which a command changes."""

    def assign(unit_id: str) -> Assigned:
        entry = view.get(experiment)
        assert entry is not None
        chosen = sticky(experiment, control=control, treatment=treatment, exposure=entry.exposure)(unit_id)
        return Assigned(chosen.variant, entry.run, entry.epoch)

    return assign
