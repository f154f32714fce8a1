"""A metric in both arms of a run: what was measured, how the treatment differs, and the guardrail that watches it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoploss.experiment import Experiment
from stoploss.review.guardrails import GuardrailResult
from stoploss.store.rows import Arm


@dataclass(frozen=True, slots=True)
class ArmNumbers:
    """A metric in one arm, everybody together; None is no data."""

    n: int | None
    mean: float | None
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric in both arms.

    change     of the treatment's mean against control's; None: an arm has no data
    relative   the change is a share of control's mean; else, where a mean may be 0 or below, it is in `unit`
    guardrail  that watches the metric, with the interval; None: nothing does, so there is no interval
    """

    what: str
    metric: str
    unit: str
    control: ArmNumbers | None
    treatment: ArmNumbers | None
    change: float | None
    relative: bool
    guardrail: GuardrailResult | None


def results(
    experiment: Experiment, arms: Sequence[Arm], guardrails: Sequence[GuardrailResult]
) -> tuple[Comparison, ...]:
    """Quality (where the spec names its score), cost and latency."""
    objective = experiment.spec.objective
    quality = objective.quality.score if objective and objective.quality else None
    wanted = [("quality", quality), ("cost", "cost_usd"), ("latency", "latency_ms")]
    return tuple(compared(experiment, what, metric, arms, guardrails) for what, metric in wanted if metric)


def compared(
    experiment: Experiment, what: str, metric: str, arms: Sequence[Arm], guardrails: Sequence[GuardrailResult]
) -> Comparison:
    """A metric in both arms, from the newest measures of everybody in one run."""
    declared = experiment.metric(metric)
    control, treatment = (_numbers(arms, metric, variant.name) for variant in experiment.arms)
    return Comparison(
        what=what,
        metric=metric,
        unit=declared.unit,
        control=control,
        treatment=treatment,
        change=_change(control, treatment, declared.positive),
        relative=declared.positive,
        guardrail=next((result for result in guardrails if result.metric == metric), None),
    )


def _numbers(arms: Sequence[Arm], metric: str, variant: str) -> ArmNumbers | None:
    arm = next((arm for arm in arms if (arm.metric, arm.variant) == (metric, variant)), None)
    return ArmNumbers(arm.n, arm.mean, arm.p50, arm.p95) if arm and arm.n else None


def _change(control: ArmNumbers | None, treatment: ArmNumbers | None, relative: bool) -> float | None:
    if control is None or treatment is None or control.mean is None or treatment.mean is None:
        return None
    if relative:
        return treatment.mean / control.mean - 1 if control.mean else None
    return treatment.mean - control.mean
