"""What people plot of a run at a tick: the arms in every cell, and what every rule says."""

from __future__ import annotations

from collections.abc import Sequence

from stoploss.experiment import Experiment
from stoploss.folding import settle
from stoploss.measures import Measure, VerdictMeasure
from stoploss.metrics import column_name, scale_of
from stoploss.outputs import Outputs
from stoploss.rules import AnyRule
from stoploss.rules.verdict import Verdict
from stoploss.sentences import missing
from stoploss.state import ExperimentState


def measured(state: ExperimentState, verdicts: Sequence[tuple[AnyRule, Verdict]], out: Outputs) -> Measure:
    """The measure of this entry."""
    settle(state)
    experiment = state.experiment
    names = (experiment.control.name, experiment.treatment.name)
    scales = {column: _scale(experiment, column) for column in state.current.metrics.metrics}
    arms = state.current.metrics.arms(names, state.current.dimensions, scales)
    spoken = tuple(_verdict_measure(rule, verdict) for rule, verdict in verdicts)
    minimum_cell = experiment.spec.privacy.minimum_cell
    return Measure(state.name, state.run, state.epoch, out.at, state.partition, out.offset, arms, spoken, minimum_cell)


def _scale(experiment: Experiment, column: str) -> int:
    name, _, transform = column.partition(":")
    metric = experiment.metric(name)
    return scale_of(metric, "log" if column == column_name(name, "log") else "none") if transform else metric.scale


def _verdict_measure(rule: AnyRule, verdict: Verdict) -> VerdictMeasure:
    evidence = verdict.evidence
    return VerdictMeasure(
        rule=rule.key,
        metric=evidence.metric,
        segment=evidence.segment,
        verdict=verdict.outcome,
        reason=verdict.reason,
        observed=evidence.observed,
        bound=evidence.bound,
        estimate=evidence.estimate,
        lower=evidence.lower,
        upper=evidence.upper,
        margin=evidence.margin,
        n_control=evidence.n_control,
        n_treatment=evidence.n_treatment,
        missing=missing(verdict, evidence),
    )
