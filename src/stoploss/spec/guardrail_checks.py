"""What a spec's guardrails must satisfy, so that each can fire and hides nothing: errors found before the start.

Each fault names the field, the value and the way out.
"""

from __future__ import annotations

from collections.abc import Iterator

from stoploss.experiment import Experiment
from stoploss.metrics import LARGEST, METRICS, Metric
from stoploss.spec.guardrails import Guardrail

Fault = tuple[tuple[str | int, ...], str]

TIMED = ("latency_ms", "time_to_first_token_ms")
HIDING = {
    "log": "a logarithm hides a tail: 2 % of requests ten times slower move it by 4.7 %",
    "capped": "a cap hides what lies above it",
}


def guardrail_faults(experiment: Experiment, index: int) -> Iterator[Fault]:
    """Faults of one guardrail whose metric is known, as (path below the guardrail, message)."""
    guardrail = experiment.spec.guardrails[index]
    metric = experiment.metric(guardrail.metric)
    yield from _transform(guardrail, metric)
    yield from _margin(guardrail, metric)
    yield from _exceedance(experiment, guardrail, metric)
    yield from _covariate(experiment, guardrail, metric)
    yield from _timed(experiment, guardrail)
    if not metric.binary:
        yield from _tail(experiment, guardrail)
    yield from _twice(experiment, index)


def _transform(guardrail: Guardrail, metric: Metric) -> Iterator[Fault]:
    if metric.binary and guardrail.transform == "log":
        yield ("transform",), f"{metric.name!r} counts 0 or 1; a logarithm of it has no meaning: drop the transform"
    elif metric.binary and guardrail.transform != "none":
        yield ("transform",), f"{metric.name!r} counts 0 or 1 already: drop the transform"
    elif guardrail.transform == "log" and not metric.positive:
        yield ("transform",), f"{metric.name!r} can be 0 or below; drop the transform"
    if metric.binary and guardrail.direction == "higher":
        yield ("direction",), f"{metric.name!r} counts harm, so lower is better; write direction: lower"


def _margin(guardrail: Guardrail, metric: Metric) -> Iterator[Fault]:
    margin, counted = guardrail.margin, guardrail.transform == "exceedance"
    if guardrail.transform == "log" and metric.positive and margin.absolute is not None:
        yield (
            ("margin",),
            f"an absolute margin of {margin.absolute} would be in log units and could never fire; "
            "give a relative margin",
        )
    if counted and margin.absolute is not None:
        yield ("margin",), "the share beyond a threshold is a rate; give a relative margin, such as {relative: 0.50}"
    if margin.relative is not None and not metric.positive and not counted:
        yield (
            ("margin",),
            f"{metric.name!r} can be 0 or below, so a share of it has no meaning; give an absolute margin",
        )
    if metric.binary and margin.absolute is not None:
        yield (
            ("margin",),
            f"{metric.name!r} is a rate; give a relative margin, such as {{relative: 0.10}} for a tenth more",
        )
    if guardrail.direction == "higher" and (margin.relative or 0.0) >= 1 and not counted:
        yield (
            ("margin",),
            f"a relative margin of {margin.relative} lets a higher-is-better metric fall to nothing; "
            "give one below 1, such as {relative: 0.10} for a tenth less",
        )


def _exceedance(experiment: Experiment, guardrail: Guardrail, metric: Metric) -> Iterator[Fault]:
    threshold, quantile = guardrail.threshold, guardrail.quantile
    if guardrail.transform != "exceedance":
        for name, given in (("quantile", quantile), ("threshold", threshold)):
            if given is not None:
                yield (name,), f"{name} belongs to transform: exceedance; add that, or drop {name}"
        return
    if threshold is not None and quantile is not None:
        yield ("threshold",), "an exceedance has a quantile or a threshold; give one of the two"
    if threshold is None and (fault := _never_exceeded(guardrail)):
        yield ("margin",), fault
    if threshold is not None and metric.positive and threshold <= 0:
        yield ("threshold",), f"all values of {metric.name!r} lie above {threshold:g}; give a threshold above 0"
    if threshold is not None and abs(threshold) * metric.scale > LARGEST:
        yield ("threshold",), f"no value lies beyond {threshold:g} {metric.unit}; give a smaller threshold"
    timeout_ms = 1_000 * experiment.spec.assignment.service_timeout
    if threshold is not None and guardrail.metric in TIMED and threshold >= timeout_ms:
        yield (
            ("threshold",),
            f"failures count as the service timeout, {timeout_ms} ms, which {threshold:g} ms would let pass; "
            "give a threshold below it",
        )


def _never_exceeded(guardrail: Guardrail) -> str | None:
    """A rate cannot pass 1: of a share of 1/2, twice as much is all."""
    usual = 1 - (0.95 if guardrail.quantile is None else guardrail.quantile)
    if (1 + (guardrail.margin.relative or 0.0)) * usual < 1:
        return None
    return (
        f"control's share beyond the threshold is {100 * usual:.3g} %, so a relative margin of "
        f"{guardrail.margin.relative:g} could never be passed; give one below {1 / usual - 1:.3g}, or a higher quantile"
    )


def _covariate(experiment: Experiment, guardrail: Guardrail, metric: Metric) -> Iterator[Fault]:
    name, spec = guardrail.covariate, experiment.spec
    if name is None:
        return
    if metric.binary or guardrail.transform == "exceedance":
        yield ("covariate",), f"a covariate adjusts a mean, and {metric.name!r} is judged as a rate here; drop it"
    elif guardrail.margin.relative is not None and guardrail.transform != "log":
        yield (
            ("covariate",),
            "with a relative margin the adjustment would move the margin itself; give an absolute margin, "
            "or transform: log",
        )
    measured_later = {guardrail.metric, spec.success.metric, *METRICS}
    measured_later |= {spec.objective.quality.score} if spec.objective and spec.objective.quality else set()
    if name in measured_later:
        yield ("covariate",), f"{name!r} is measured after the assignment, so it would take the harm out; drop it"
    elif name not in spec.scores:
        yield ("covariate",), f"{name!r} is not declared; list it under spec.scores, and let traces carry it"


def _timed(experiment: Experiment, guardrail: Guardrail) -> Iterator[Fault]:
    """Failures count as the service timeout, so nothing is slower by more than that."""
    timeout_ms, absolute = 1_000 * experiment.spec.assignment.service_timeout, guardrail.margin.absolute
    if guardrail.metric in TIMED and absolute is not None and absolute >= timeout_ms:
        yield (
            ("margin", "absolute"),
            f"no mean rises by {absolute:g} ms where requests end after {timeout_ms} ms (assignment.serviceTimeout), "
            "so this could never fire; give a smaller margin",
        )


def _tail(experiment: Experiment, guardrail: Guardrail) -> Iterator[Fault]:
    """More of a metric hidden in its upper tail is harm only where lower is better."""
    if guardrail.transform not in HIDING or guardrail.direction != "lower":
        return
    mine = [other for other in experiment.spec.guardrails if other.metric == guardrail.metric]
    if any(other.transform == "exceedance" and other.direction == "lower" for other in mine):
        return
    taken = {other.margin.relative for other in mine}
    free = next(margin for margin in ("0.50", "1.00", "0.25", "2.00") if float(margin) not in taken)
    yield (
        ("transform",),
        f"{HIDING[guardrail.transform]}; add the guardrail that watches the tail: "
        f"- {{metric: {guardrail.metric}, direction: lower, margin: {{relative: {free}}}, transform: exceedance, "
        f"action: {guardrail.action}}}",
    )


def _twice(experiment: Experiment, index: int) -> Iterator[Fault]:
    """Findings name metric and margin; two guardrails alike in both could not be told apart."""
    guardrail = experiment.spec.guardrails[index]
    for earlier, other in enumerate(experiment.spec.guardrails[:index]):
        if (other.metric, other.margin) == (guardrail.metric, guardrail.margin):
            yield (
                ("margin",),
                f"guardrail {earlier} has the same margin on {guardrail.metric!r}, so nobody could tell their "
                "verdicts apart; give one of them another",
            )
