"""Many rehearsals of one experiment: without harm, with the largest harm allowed, and with harm of stated sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from stoploss.calibration.injection import Harm, harm_of, harmed
from stoploss.calibration.rehearsal import Ended, Plot, rehearse
from stoploss.calibration.requests import Requests
from stoploss.calibration.resample import Resampler
from stoploss.experiment import Experiment


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is done to the treatment.

    name   in words
    harms  at once
    rule   key of the guardrail that should find it; None: every stop is a false one
    """

    name: str
    harms: tuple[Harm, ...]
    rule: str | None


@dataclass(frozen=True, slots=True)
class Staging:
    """How each rehearsal is played.

    text      the experiment's YAML
    exposure  share of the units that the treatment serves
    looks     how often the judge looks at the evidence, evenly over the recorded time
    seed      of resampling, assignment and harm
    """

    text: str
    experiment: Experiment
    exposure: float
    looks: int
    seed: int


def harmless(experiment: Experiment) -> tuple[Scenario, ...]:
    """Two in which nobody should be stopped: no difference at all, and every guardrail's metric at its margin."""
    border = tuple(harm_of(guardrail, 1.0) for guardrail in experiment.spec.guardrails)
    alike = Scenario("no difference (A/A)", (), None)
    return (alike, Scenario("worse by exactly what is allowed", border, None)) if border else (alike,)


def harmful(experiment: Experiment, times: tuple[float, ...]) -> tuple[Scenario, ...]:
    """One metric worse by a multiple of its margin, for every guardrail."""
    return tuple(
        Scenario(harm_of(guardrail, size).text, (harm_of(guardrail, size),), f"guardrail[{index}]")
        for index, guardrail in enumerate(experiment.spec.guardrails)
        for size in times
    )


def trials(resampler: Resampler, staging: Staging, scenario: Scenario, runs: int) -> Iterator[Ended]:
    """The rehearsals of a scenario; run k of a seed is the same whatever else is run."""
    for run in range(runs):
        yield rehearse(requests := resampler.draw(staging.seed, run), _plot(requests, staging, scenario, run))


def _plot(requests: Requests, staging: Staging, scenario: Scenario, run: int) -> Plot:
    columns = {}
    for harm in scenario.harms:
        columns |= harmed(requests, staging.experiment, harm, staging.seed, run)
    span_s = (int(requests.at[-1]) - int(requests.at[0])) / 1_000_000
    every_s = max(1, math.ceil(span_s / staging.looks))
    return Plot(staging.text, staging.exposure, staging.seed * 1_000_003 + run, every_s, columns)
