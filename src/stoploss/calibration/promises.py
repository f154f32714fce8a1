"""What each rule promises: the probability that it ever acts on a treatment that is no worse than allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from stoploss.calibration.injection import watched
from stoploss.experiment import Experiment
from stoploss.rules import (
    AnyRule,
    coverage,
    declared,
    drift,
    mix_drift,
    over_exposure,
    rate_batch,
    rejects,
    rules_of,
    sample_ratio,
    uncounted,
    unresolved,
)
from stoploss.rules.alignment import AlignmentRule
from stoploss.rules.audit import AuditRule
from stoploss.rules.binary_guardrail import BinaryGuardrail
from stoploss.rules.guardrail import ContinuousGuardrail
from stoploss.rules.judge_drift import JudgeDrift
from stoploss.rules.regression import Regression

FIXED: dict[type, float] = {
    sample_ratio.SampleRatio: sample_ratio.ALPHA,
    over_exposure.OverExposure: over_exposure.ALPHA,
    declared.Declared: declared.ALPHA,
    rejects.Rejects: rejects.ALPHA,
    drift.Drift: 3 * drift.ALPHA,
    mix_drift.MixDrift: mix_drift.ALPHA + mix_drift.BATCH_ALPHA,
    coverage.CoverageRule: len(coverage.ARMS) * rate_batch.ALPHA,
    unresolved.UnresolvedRule: rate_batch.ALPHA,
    uncounted.Uncounted: len(uncounted.SPENT) * len(uncounted.ARMS) * rate_batch.ALPHA,
}
"""Of rules whose error budget no spec chooses. A drift asks three questions of each alarm of its detector."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Of one rule.

    rule     key of the rule; watches: what it watches, in words
    alpha    error budget over the whole run, all its streams together; None: it counts or compares, and promises none.
             A rule that begins anew (with each batch of grades, audits, scores or units, with each alarm of a detector)
             promises so much each time
    """

    rule: str
    watches: str
    alpha: float | None


def promises(experiment: Experiment) -> tuple[Promise, ...]:
    """Of all rules of an experiment, in the order in which they are judged."""
    return tuple(Promise(rule.key, _watches(rule), _alpha(rule, experiment)) for rule in rules_of(experiment))


def total(given: Iterable[Promise]) -> float:
    """All of them together: the sum bounds the probability that any of them errs, however they depend."""
    return math.fsum(promise.alpha for promise in given if promise.alpha is not None)


def _alpha(rule: AnyRule, experiment: Experiment) -> float | None:
    """The segments of a guardrail share as much again as the stream that watches everybody.

    Its twin for a harm that begins later promises the same alpha again, for 30 days of a batch in every second.
    """
    if isinstance(rule, ContinuousGuardrail | BinaryGuardrail):
        return rule.plan.alpha * (2 if experiment.spec.segments else 1)
    if isinstance(rule, Regression):
        return rule.plan.alpha
    if isinstance(rule, JudgeDrift | AuditRule | AlignmentRule):
        return rule.alpha
    return FIXED.get(type(rule))


def _watches(rule: AnyRule) -> str:
    if isinstance(rule, ContinuousGuardrail | BinaryGuardrail | Regression):
        return f"{rule.kind} {watched(rule.plan)}"
    metric = getattr(rule, "metric", None)
    name = rule.kind.replace("_", " ")
    return f"{name} {metric}" if isinstance(metric, str) else name
