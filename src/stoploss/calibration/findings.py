"""What many rehearsals say: how often each rule stopped without cause, and how soon harm was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stoploss.calibration.promises import Promise, total
from stoploss.calibration.rehearsal import Alarm, Ended
from stoploss.calibration.trials import Scenario
from stoploss.commands import Action
from stoploss.stats.exact_binomial import interval

STOPS = frozenset({Action.ROLLBACK, Action.STOP, Action.PAUSE, Action.THROTTLE, Action.STOP_SEGMENT})
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class StopRate:
    """How often a rule, or any of them, stopped a treatment that should not be stopped.

    promised    at most this share of runs; None: nothing is promised
    low, high   exact 95 % interval of the true share, given what was seen
    """

    watches: str
    promised: float | None
    runs: int
    stopped: int
    low: float
    high: float

    @property
    def kept(self) -> bool | None:
        """False: the data contradict the promise, even at the low end of the interval."""
        return None if self.promised is None else self.low <= self.promised


@dataclass(frozen=True, slots=True)
class Delay:
    """The run that stands at half, or at four fifths, of all runs in order of their stop."""

    requests: int
    units: int
    hours: float


@dataclass(frozen=True, slots=True)
class Detection:
    """How a harm was found.

    found     runs in which the treatment was stopped; by_rule: by the guardrail of the harmed metric
    median, four_fifths  None: fewer runs than that were stopped before the requests ended
    saved     mean share of the treatment's requests that it did not serve any more
    """

    harm: str
    runs: int
    found: int
    by_rule: int
    median: Delay | None
    four_fifths: Delay | None
    saved: float


def stop_rate(watches: str, promised: float | None, runs: int, stopped: int) -> StopRate:
    return StopRate(watches, promised, runs, stopped, *interval(stopped, runs, 1 - CONFIDENCE))


def stop_rates(ended: Sequence[Ended], given: Sequence[Promise]) -> tuple[StopRate, ...]:
    """Of every rule; a run in which a rule gave several orders counts once."""
    stoppers = [{alarm.rule for alarm in stops_of(run)} for run in ended]
    return tuple(stop_rate(p.watches, p.alpha, len(ended), sum(p.rule in rules for rules in stoppers)) for p in given)


def promised_stops(ended: Sequence[Ended], given: Sequence[Promise]) -> StopRate:
    """Of all rules that promise, together: at most the sum of what they promise, however they depend on each other."""
    promising = {promise.rule for promise in given if promise.alpha is not None}
    stopped = sum(any(alarm.rule in promising for alarm in stops_of(run)) for run in ended)
    return stop_rate("all that promise, together", total(given), len(ended), stopped)


def stops_of(run: Ended) -> tuple[Alarm, ...]:
    """Alarms that took traffic from the treatment, for all or for a segment."""
    return tuple(alarm for alarm in run.alarms if alarm.action in STOPS)


def detection(scenario: Scenario, ended: Sequence[Ended]) -> Detection:
    """Stops of one segment alone do not count as found: the harm struck everybody."""
    first = [next((alarm for alarm in stops_of(run) if not alarm.segment), None) for run in ended]
    found = sorted((alarm for alarm in first if alarm is not None), key=lambda alarm: alarm.requests)
    saved = [_saved(run, alarm) for run, alarm in zip(ended, first, strict=True)]
    return Detection(
        harm=scenario.name,
        runs=len(ended),
        found=len(found),
        by_rule=sum(alarm.rule == scenario.rule for alarm in found),
        median=_delay(found, len(ended), 0.5),
        four_fifths=_delay(found, len(ended), 0.8),
        saved=math.fsum(saved) / len(saved),
    )


def _delay(found: Sequence[Alarm], runs: int, share: float) -> Delay | None:
    place = math.ceil(share * runs) - 1
    return Delay(found[place].requests, found[place].units, found[place].hours) if place < len(found) else None


def _saved(run: Ended, alarm: Alarm | None) -> float:
    if alarm is None or not run.treated_if_unstopped:
        return 0.0
    return 1 - alarm.treated / run.treated_if_unstopped
