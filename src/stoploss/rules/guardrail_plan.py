"""What a guardrail's YAML means in numbers: margin in integer units, error budget of each stream, dimensions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from stoploss.commands import Action, Segment
from stoploss.experiment import OTHER, Experiment, others_in
from stoploss.metrics import METRICS
from stoploss.rules.reading import Reading
from stoploss.rules.verdict import Response, Severity
from stoploss.segments import CAPACITY, EVERYBODY
from stoploss.spec.guardrails import Guardrail
from stoploss.stats.bonferroni import stream_weight
from stoploss.stats.contrast import Margin

UNTARGETABLE = frozenset({OTHER, "invalid"})
"""Values that stand for many: what intake or the judge made of them no flag can match."""

TSTAR = 5_000
"""Traces at which the bounds are tightest; the same for every experiment."""


@dataclass(frozen=True, slots=True)
class GuardrailPlan:
    """A guardrail, ready to fold.

    index       place in the spec; part of the rule's key
    column      column of the evidence that it reads; reading: what it makes of the column's values
    scale       integers per unit of what it reads
    binary      what it reads counts 0 or 1
    worse       which way harm lies
    absolute, relative  the margin as the spec gives it; one of the two is None
    dimensions  everybody first, then the spec's segments
    alpha       error budget of the stream that watches everybody; the segments share as much again
    per_trace   each trace is its own randomisation unit, and brings its value itself: a score may come as an outcome
    """

    index: int
    metric: str
    column: str
    reading: Reading
    scale: int
    log: bool
    binary: bool
    worse: str
    absolute: float | None
    relative: float | None
    dimensions: tuple[str, ...]
    alpha: float
    action: Action
    per_trace: bool

    @classmethod
    def of(cls, experiment: Experiment, index: int, guardrail: Guardrail) -> GuardrailPlan:
        metric, reading = experiment.metric(guardrail.metric), Reading.of(experiment, guardrail)
        counted = guardrail.transform == "exceedance"
        return cls(
            index=index,
            metric=metric.name,
            column=reading.column,
            reading=reading,
            scale=1 if counted else reading.scale,
            log=guardrail.transform == "log",
            binary=metric.binary or counted,
            worse="higher" if counted else reading.worse,
            absolute=guardrail.margin.absolute,
            relative=guardrail.margin.relative,
            dimensions=(EVERYBODY, *experiment.spec.segments),
            alpha=guardrail.alpha,
            action=Action(guardrail.action),
            per_trace=experiment.spec.assignment.randomisation_unit == "trace" and metric.name in METRICS,
        )

    @property
    def margin(self) -> Margin:
        """The margin on the column's own integer scale. A relative one on a log is a shift of the logarithm."""
        sign = 1 if self.worse == "higher" else -1
        if self.relative is None:
            return Margin("higher" if sign > 0 else "lower", absolute=(self.absolute or 0.0) * self.scale)
        if self.log:
            return Margin(
                "higher" if sign > 0 else "lower", absolute=sign * math.log1p(sign * self.relative) * self.scale
            )
        return Margin("higher" if sign > 0 else "lower", relative=self.relative)

    @property
    def rr0(self) -> float:
        """The relative risk that a binary guardrail still tolerates."""
        return 1 + (self.relative or 0.0)

    def alphas(self, dimension: str, cells: int, share: float = 1.0) -> tuple[float, ...]:
        """A share of the error budget of each cell's stream. Everybody has the guardrail's own alpha; the segments
        share another."""
        if dimension == EVERYBODY:
            return (self.alpha * share,)
        return _shared_alphas(self.alpha, len(self.dimensions) - 1, cells, share)

    def response(self, segment: Segment | None) -> Response:
        """A segment's harm stops that segment alone, where a flag can tell its users from others."""
        alone = segment is not None and segment.value not in UNTARGETABLE and not others_in(segment.dimension)
        return Response(Action.STOP_SEGMENT if alone else self.action, Severity.PAGE)

    def effect(self, difference: float, control_mean: float | None) -> float | None:
        """A harm-signed difference on the column's scale as people read it.

        With a relative margin: treatment over control minus 1. With an absolute one: treatment minus control, in the
        metric's unit. None: control has no mean to compare with.
        """
        sign = 1 if self.worse == "higher" else -1
        if not math.isfinite(difference):
            return None
        if self.log:
            exponent = sign * difference / self.scale
            return math.expm1(exponent) if exponent < 700 else None
        if self.relative is None:
            return sign * difference / self.scale
        return None if not control_mean else sign * (difference / control_mean + self.relative)

    def arm_value(self, mean: float | None) -> float | None:
        """An arm's mean in the metric's unit; the geometric mean where the logarithm was averaged."""
        if mean is None:
            return None
        value = mean / self.scale
        return math.exp(value) if self.log and value < 700 else value


@lru_cache(maxsize=4_096)
def _shared_alphas(alpha: float, dimensions: int, cells: int, share: float) -> tuple[float, ...]:
    """What each of the first cells of a dimension has of an error budget that some dimensions share."""
    return tuple(alpha * stream_weight(cell + 1, CAPACITY) / dimensions * share for cell in range(cells))
