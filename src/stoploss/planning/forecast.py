"""The plan of an experiment: what each guardrail can find at each stage, when, and at which price."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stoploss.calibration.injection import ALL, Harm, harm_of, size_text, watched
from stoploss.calibration.promises import Promise, promises, total
from stoploss.experiment import Experiment
from stoploss.planning.baseline import Baseline
from stoploss.planning.detection import Watch, hours_to_find
from stoploss.planning.flow import Flow
from stoploss.rules.guardrail_plan import GuardrailPlan

LONGEST_HOURS = 90 * 24.0
SHARES = (0.5, 0.8)
LARGEST_HARM = 10.0
ROUNDS = 16


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the ramp and how long it lasts: minDuration, or until minUnits units met the treatment."""

    exposure: float
    hours: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What has happened by the time that a share of harmful treatments is stopped.

    units, requests  of both variants; exposures: requests that the treatment served
    """

    hours: float
    units: float
    requests: float
    exposures: float


@dataclass(frozen=True, slots=True)
class Reach:
    """A guardrail at a stage; None: not within LONGEST_HOURS."""

    exposure: float
    median: Cost | None
    four_fifths: Cost | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """A guardrail.

    text      the harm that is planned for: "+20 %"
    reaches   by stage
    smallest  the smallest harm that four fifths of runs find within the last stage; None: none
    verdict   "in time", "late" or "never"; advice: what to change, where it is not in time
    """

    rule: str
    watches: str
    text: str
    reaches: tuple[Reach, ...]
    smallest: str | None
    verdict: str
    advice: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be known before the start.

    false_stops  promised probability that a harmless treatment is ever stopped: of one run, and of a run per stage
    """

    experiment: str
    source: str
    times: float
    stages: tuple[Stage, ...]
    guardrails: tuple[Forecast, ...]
    promises: tuple[Promise, ...]
    false_stops: float
    false_stops_of_ramp: float


def planned(
    experiment: Experiment,
    flow: Flow,
    baselines: Mapping[int, Baseline | None],
    *,
    source: str,
    times: float = 2.0,
    last_hours: float | None = None,
) -> Plan:
    """The plan of an experiment.

    baselines   by index of the guardrail; None: nothing is known of its metric
    times       the harm that is planned for, in margins; more than 1, since a harm of exactly 1 is allowed
    last_hours  how long the last stage lasts, where it is to last longer than the spec's minimum
    """
    stages = tuple(_stages(experiment, flow, last_hours))
    given = promises(experiment)
    found = tuple(
        _forecast(harm_of(experiment, index, times), baselines.get(index), flow, stages)
        for index in range(len(experiment.spec.guardrails))
    )
    alpha = total(given)
    of_ramp = min(1.0, alpha * len(stages))
    return Plan(experiment.name, source, times, stages, found, given, alpha, of_ramp)


def _stages(experiment: Experiment, flow: Flow, last_hours: float | None) -> Iterator[Stage]:
    ramp = experiment.spec.ramp
    for index, exposure in enumerate(ramp.shares):
        least = ramp.at(exposure)
        hours = max(least.duration_s / 3_600, flow.hours_until_units(least.units / exposure))
        is_last = index == len(ramp.stages) - 1
        yield Stage(exposure, last_hours if is_last and last_hours is not None else hours)


def _forecast(harm: Harm, baseline: Baseline | None, flow: Flow, stages: tuple[Stage, ...]) -> Forecast:
    plan = harm.plan
    rule, stated = f"guardrail[{plan.index}]", size_text(plan, harm.size, relative=harm.relative)
    if baseline is None or (why := _blind(plan, baseline)):
        unknown = "nothing is known of it before the start: record it, or state it with --baseline"
        return Forecast(rule, watched(plan), stated, (), None, "never", unknown if baseline is None else why)
    watches = [Watch(plan, baseline, flow, stage.exposure) for stage in stages]
    size = harm.size
    if harm.relative and plan.relative is None:
        size *= abs(baseline.mean) / plan.scale
    reaches = tuple(_reach(watch, size) for watch in watches)
    smallest = _smallest(watches[-1], stages[-1].hours)
    text = None if smallest is None else size_text(plan, smallest, relative=plan.relative is not None)
    verdict, advice = _judged(reaches, stages[-1], text)
    return Forecast(rule, watched(plan), stated, reaches, text, verdict, advice)


def _blind(plan: GuardrailPlan, baseline: Baseline) -> str:
    """Why a guardrail cannot see anything in this traffic; empty where it can."""
    if plan.binary and baseline.first_rate == 0 and baseline.event_units == 0:
        return "no request has the event: watch a more frequent one, or make it a gate, which the first one trips"
    if baseline.deviation == 0:
        return "it never varies: check that services send it"
    return ""


def _reach(watch: Watch, size: float) -> Reach:
    median, four_fifths = (_cost(watch, hours_to_find(watch, size, share)) for share in SHARES)
    return Reach(watch.exposure, median, four_fifths)


def _cost(watch: Watch, hours: float) -> Cost | None:
    if hours > LONGEST_HOURS:
        return None
    requests = watch.flow.requests_by(hours)
    return Cost(hours, watch.flow.units_by(hours), requests, watch.exposure * requests)


def _smallest(watch: Watch, within_hours: float) -> float | None:
    """The border between harms that four fifths of runs find within some hours and those that they do not."""
    low, high = watch.plan.relative or watch.plan.absolute or 0.0, _largest(watch.plan, watch.baseline)
    if low >= high or hours_to_find(watch, high, SHARES[1]) > within_hours:
        return None
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        found = hours_to_find(watch, middle, SHARES[1]) <= within_hours
        low, high = (low, middle) if found else (middle, high)
    return high


def _largest(plan: GuardrailPlan, baseline: Baseline) -> float:
    """Harms beyond this are no question of statistics: ten times as much, everything lost, all requests failing."""
    if plan.relative is None:
        return (plan.absolute or 0.0) + LARGEST_HARM * baseline.deviation / plan.scale
    if plan.binary:
        return min(LARGEST_HARM, 1 / baseline.mean - 1) if baseline.mean else LARGEST_HARM
    return LARGEST_HARM if plan.worse == "higher" else ALL


def _judged(reaches: tuple[Reach, ...], last: Stage, smallest: str | None) -> tuple[str, str]:
    """Whether the planned harm is found within the last stage, and what to change where it is not."""
    in_last = reaches[-1].four_fifths
    if in_last is not None and in_last.hours <= last.hours:
        return "in time", ""
    findable = f"it finds {smallest} in time" if smallest else "it finds no harm in time"
    if in_last is None:
        soonest = [reach for reach in reaches if reach.four_fifths is not None]
        if not soonest:
            return "never", f"{findable}: allow a larger margin, a larger share, or more traffic"
        at = soonest[0].exposure
        return "never", f"{findable} at {100 * last.exposure:g} %: hold at {100 * at:g} %, where it works"
    return "late", f"{findable}: let the last stage last {math.ceil(in_last.hours):,} h, or expect larger harms only"
