"""What the spec's objective must satisfy: each fault names the field, the value, the way out."""

from __future__ import annotations

from collections.abc import Iterator

from stoploss.experiment import Experiment
from stoploss.metrics import METRICS, RISK_EVENTS
from stoploss.spec.objective import Objective

Fault = tuple[tuple[str | int, ...], str]


def objective_faults(experiment: Experiment) -> Iterator[Fault]:
    objective = experiment.spec.objective
    if objective is None:
        return
    yield from _quality(objective)
    events = [risk.event for risk in objective.risk]
    for index, event in enumerate(events):
        at = ("spec", "objective", "risk", index, "event")
        if event not in RISK_EVENTS:
            yield at, f"unknown event {event!r}; known events: {', '.join(RISK_EVENTS)} (what is a gate stops first)"
        elif event in events[:index]:
            yield at, f"{event!r} is listed twice; keep one weight"


def _quality(objective: Objective) -> Iterator[Fault]:
    if objective.quality is None:
        yield ("spec", "objective"), "names no quality, so a gain cannot be told; add quality: {score: …}, or drop it"
        return
    name = objective.quality.score
    if name in METRICS:
        yield (
            ("spec", "objective", "quality", "score"),
            f"{name!r} is measured, not judged, so it is no quality; name a score, and put a guardrail on {name!r}",
        )
    if name in objective.risk_columns:
        yield ("spec", "objective", "quality", "score"), f"{name!r} is a harm event; name a score of quality"
