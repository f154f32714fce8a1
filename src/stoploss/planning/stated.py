"""Baselines that a person states, where nothing was recorded: a metric's mean and deviation, and the traffic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stoploss.errors import ConfigurationError
from stoploss.experiment import Experiment
from stoploss.planning.baseline import Baseline, stated
from stoploss.planning.flow import Flow, steady
from stoploss.rules.guardrail_plan import GuardrailPlan


@dataclass(frozen=True, slots=True)
class Level:
    """Of one metric in its own unit; a rate has no deviation."""

    mean: float
    deviation: float | None = None


@dataclass(frozen=True, slots=True)
class Stated:
    """What is expected of control.

    per_unit  requests of a unit within a day; icc  how alike they are: intraclass correlation, in [0, 1)
    """

    levels: Mapping[str, Level]
    requests_per_hour: float
    per_unit: float = 1.0
    icc: float = 0.0

    @property
    def flow(self) -> Flow:
        return steady(self.requests_per_hour, self.per_unit)

    @property
    def text(self) -> str:
        return (
            f"stated: {self.requests_per_hour:g} requests an hour, {self.per_unit:g} of each unit, "
            f"intraclass correlation {self.icc:g}"
        )


def parse_levels(texts: Sequence[str], experiment: Experiment) -> dict[str, Level]:
    """`METRIC=MEAN` or `METRIC=MEAN,DEVIATION`; raises ConfigurationError. The spec's success.baseline is one too.

    A mean without deviation is enough for a rate only.
    """
    success = experiment.spec.success
    levels = {success.metric: Level(success.baseline)} if success.baseline is not None else {}
    for text in texts:
        name, _, numbers = text.partition("=")
        try:
            values = [float(number) for number in numbers.split(",")]
        except ValueError:
            values = []
        if not name or len(values) not in (1, 2) or not all(map(math.isfinite, values)):
            raise ConfigurationError(
                f"{text!r} states no baseline; write METRIC=MEAN for a rate, such as error_rate=0.02, and "
                "METRIC=MEAN,DEVIATION for other metrics, such as latency_ms=800,600"
            )
        levels[name] = Level(*values)
    return levels


def baseline_of(given: Stated, plan: GuardrailPlan) -> Baseline | None:
    """A guardrail's baseline; None where too little of it is stated."""
    level = given.levels.get(plan.metric)
    if plan.reading.transform == "exceedance" and plan.reading.threshold is None:
        return stated(1 - plan.reading.quantile, None, per_unit=given.per_unit, icc=given.icc)
    if level is None or (not plan.binary and level.deviation is None) or plan.reading.transform == "exceedance":
        return None
    mean, deviation = level.mean * plan.scale, (level.deviation or 0.0) * plan.scale
    if plan.log:  # of a lognormal metric with this mean and deviation
        variance = math.log1p((level.deviation or 0.0) ** 2 / level.mean**2)
        mean, deviation = (math.log(level.mean) - variance / 2) * plan.scale, math.sqrt(variance) * plan.scale
    return stated(mean, None if plan.binary else deviation, per_unit=given.per_unit, icc=given.icc)
