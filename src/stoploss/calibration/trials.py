"""Many rehearsals of one experiment: without any harm, and with harm of stated sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from stoploss.calibration.injection import Harm, harm_of, harmed
from stoploss.calibration.rehearsal import Ended, Plot, rehearse
from stoploss.calibration.requests import Requests
from stoploss.calibration.resample import Resampler
from stoploss.experiment import Experiment

SEEDS_APART = 1_000_003
A_BILLIONTH = 1e-9


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is asked of the judge.

    name  in words
    text  the experiment's YAML
    harm  what is done to the treatment; None: nothing, so that every stop is a false one
    rule  key of the guardrail that should find it
    """

    name: str
    text: str
    harm: Harm | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Staging:
    """How each rehearsal is played.

    exposure  share of the units that the treatment serves
    looks     how often the judge looks at the evidence, evenly over the recorded time
    seed      of resampling, assignment and harm
    """

    experiment: Experiment
    exposure: float
    looks: int
    seed: int


def usual_exposure(experiment: Experiment) -> float:
    """The largest stage of the ramp that leaves a control arm to compare with; half, where there is none."""
    return max((stage for stage in experiment.spec.ramp.shares if stage < 1), default=0.5)


def harmless(text: str) -> tuple[Scenario, ...]:
    """Two in which nobody should be stopped: the experiment as it is, and with no margin at all.

    Without margins the two variants stand exactly at the border of what is allowed: the hardest case of the promise.
    """
    return (Scenario("as written", text), Scenario("with every margin at 0", without_margins(text)))


def without_margins(text: str) -> str:
    """The experiment with guardrails that allow nothing to get worse; a billionth apart, for no two may be the same."""
    document = yaml.safe_load(text)
    for index, guardrail in enumerate(document["spec"].get("guardrails") or ()):
        guardrail["margin"] = dict.fromkeys(guardrail["margin"], index * A_BILLIONTH)
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def harmful(text: str, experiment: Experiment, times: Sequence[float]) -> tuple[Scenario, ...]:
    """One metric worse by a multiple of its margin, for every guardrail."""
    return tuple(
        Scenario((harm := harm_of(experiment, index, size)).text, text, harm, f"guardrail[{index}]")
        for index in range(len(experiment.spec.guardrails))
        for size in times
    )


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a scenario by its number: the same whatever else is run, before it, beside it, or elsewhere."""

    resampler: Resampler
    staging: Staging
    scenario: Scenario

    def __call__(self, run: int) -> Ended:
        requests = self.resampler.draw(self.staging.seed, run)
        return rehearse(requests, _plot(requests, self.staging, self.scenario, run))


def _plot(requests: Requests, staging: Staging, scenario: Scenario, run: int) -> Plot:
    span_s = (int(requests.at[-1]) - int(requests.at[0])) / 1_000_000
    every_s = max(1, math.ceil(span_s / staging.looks))
    columns = {}
    if scenario.harm is not None:
        columns = harmed(requests, scenario.harm, staging.seed, run)
    seed = staging.seed * SEEDS_APART + run
    return Plot(scenario.text, staging.exposure, seed, every_s, harmed=columns)
