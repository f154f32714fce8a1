"""A verdict as a sentence that a tired person understands: who, what, both numbers, how much stands behind them."""

from __future__ import annotations

import math

from stoploss.commands import Evidence
from stoploss.experiment import Experiment
from stoploss.objective_sentences import utility_sentence
from stoploss.rules.verdict import Outcome, Reason, Verdict, share_text
from stoploss.watch_sentences import watch_sentence

NO_DATA = "no data"


def sentence(verdict: Verdict, experiment: Experiment) -> str:
    """What a verdict says, in words."""
    control, treatment = experiment.control.name, experiment.treatment.name
    evidence = verdict.evidence
    where = f" for {evidence.segment}" if evidence.segment else ""
    if evidence.rule == "objective":
        return utility_sentence(verdict, experiment, missing(verdict))
    match verdict.reason:
        case Reason.FIRST_EVENT:
            arm = control if verdict.stream.endswith(" in control") else treatment
            seen = f": {verdict.detail}" if verdict.detail else ""
            return f"gate {evidence.metric} was tripped by variant {arm!r}{seen}"
        case Reason.NO_EVENT:
            return f"gate {evidence.metric} was not tripped"
        case Reason.EVIDENCE_ABOVE_LIMIT if evidence.rule == "sample_ratio":
            return _sample_ratio(evidence)
        case Reason.EVIDENCE_ABOVE_LIMIT | Reason.EVIDENCE_OF_SAFETY | Reason.EVIDENCE_BETWEEN if (
            evidence.margin is not None
        ):
            return _guardrail(verdict, experiment, where)
        case Reason.BELOW_FLOOR | Reason.NO_CONTRAST:
            return f"{_subject(verdict)}{where} is undecided: {missing(verdict)}"
        case Reason.LEARNING:
            return f"{evidence.metric}: whether it became worse is undecided: {missing(verdict)}"
        case Reason.REGRESSED:
            return _regression(verdict, control, treatment)
        case Reason.VARIANT_MOVED | Reason.WORLD_MOVED | Reason.CONTROL_MOVED if evidence.rule == "drift":
            return _drift(verdict, control, treatment)
        case Reason.OTHER_ARM_PENDING:
            return f"{evidence.metric} moved in one arm; undecided whose drift it is until the other has seen as much"
        case Reason.BURNING:
            return (
                f"{evidence.metric} of {treatment!r} burns its budget {evidence.observed:.3g} times as fast as planned "
                f"(limit {evidence.bound:g} times), over a long and a short window"
            )
        case Reason.UNIT_IN_TWO_VARIANTS:
            return f"{evidence.observed:.0f} sampled units were seen in both variants (limit {evidence.bound:.0f})"
        case Reason.SERVED_OTHERWISE:
            return _served_otherwise(verdict, control, treatment)
        case Reason.SILENT:
            return f"{evidence.observed:.0f} {evidence.statistic} (limit {evidence.bound:.0f}), all sources fully read"
        case Reason.HEARD:
            return f"the {verdict.stream} arm is heard again"
        case _:
            found = watch_sentence(verdict, experiment)
            return found or f"{evidence.rule} {evidence.metric}{where} is {verdict.outcome}"


def missing(verdict: Verdict, found: Evidence | None = None) -> str:
    """What a verdict still lacks, with both numbers; what stands before a rollout, in words.

    found  its evidence, where it was found already
    """
    if verdict.detail and (found or verdict.evidence).rule == "objective":
        return verdict.detail
    if verdict.floor is None:
        return "no epoch has both arms yet" if verdict.reason == Reason.NO_CONTRAST else ""
    return f"{math.floor(verdict.floor.observed):,} of {verdict.floor.required:,.0f} {verdict.floor.what}"


def _guardrail(verdict: Verdict, experiment: Experiment, where: str) -> str:
    evidence = verdict.evidence
    effect = share_text if _is_relative(evidence, experiment) else _number
    word = {Outcome.BREACH: "is worse than allowed", Outcome.SAFE: "is within its margin"}.get(
        verdict.outcome, "is undecided"
    )
    control, treatment = experiment.control.name, experiment.treatment.name
    arms = f"{_number(evidence.treatment)} with {treatment!r} against {_number(evidence.control)} with {control!r}"
    limits = "no limits yet"
    if evidence.lower is not None and evidence.upper is not None:
        limits = f"effect between {effect(evidence.lower)} and {effect(evidence.upper)}"
    margin = effect(evidence.margin) if evidence.margin is not None else "none"
    floor = f"; {missing(verdict)}" if verdict.floor else ""
    return (
        f"{_subject(verdict)}{where} {word}: {arms} ({limits}, margin {margin}; "
        f"log evidence {_number(evidence.observed)}, limit {_number(evidence.bound)}; "
        f"{evidence.n_treatment:,} and {evidence.n_control:,} traces){floor}"
    )


def _subject(verdict: Verdict) -> str:
    """The metric, and what of it the numbers speak of where a guardrail says so."""
    return f"{verdict.evidence.metric} ({verdict.detail})" if verdict.detail else str(verdict.evidence.metric)


def _regression(verdict: Verdict, control: str, treatment: str) -> str:
    evidence = verdict.evidence
    rates = [NO_DATA if rate is None else share_text(rate) for rate in (evidence.treatment, evidence.control)]
    return (
        f"{_subject(verdict)} became worse with {treatment!r} some time after the start: {rates[0]} of "
        f"{evidence.n_treatment:,} traces against {rates[1]} of {evidence.n_control:,} with {control!r} since then "
        f"(log of the change detector {_number(evidence.observed)}, limit {_number(evidence.bound)})"
    )


def _is_relative(evidence: Evidence, experiment: Experiment) -> bool:
    """Whether the margin and the effect are shares of control's value."""
    return any(
        guardrail.metric == evidence.metric and guardrail.margin.relative == evidence.margin
        for guardrail in experiment.spec.guardrails
    )


def _drift(verdict: Verdict, control: str, treatment: str) -> str:
    evidence = verdict.evidence
    who = {
        Reason.VARIANT_MOVED: f"variant {treatment!r} drifted",
        Reason.WORLD_MOVED: "both arms drifted alike: the provider or the traffic changed, not the variant",
        Reason.CONTROL_MOVED: f"control {control!r} drifted and {treatment!r} did not",
    }[verdict.reason]
    return (
        f"{evidence.metric}: {who}; means moved by {_number(evidence.observed)} with {treatment!r} "
        f"and by {_number(evidence.bound)} with {control!r}"
    )


def _sample_ratio(evidence: Evidence) -> str:
    total = evidence.units_control + evidence.units_treatment
    share = share_text(evidence.units_treatment / total) if total else "no"
    return (
        f"the split is not as configured: {evidence.units_treatment:,} of {total:,} units ({share}) came to the "
        f"treatment; log evidence {_number(evidence.observed)} of {_number(evidence.bound)}"
    )


def _served_otherwise(verdict: Verdict, control: str, treatment: str) -> str:
    evidence = verdict.evidence
    treated = verdict.stream == "treatment"
    variant, rate = (treatment, evidence.treatment) if treated else (control, evidence.control)
    units = evidence.units_treatment if treated else evidence.units_control
    instead = f", most often by {verdict.detail}" if verdict.detail else ""
    return (
        f"variant {variant!r} is not served as it declares{instead}: {share_text(rate or 0.0)} of {units:,} units "
        f"(limit {share_text(evidence.margin or 0.0)}; log evidence {_number(evidence.observed)} of "
        f"{_number(evidence.bound)}); such traces are not compared"
    )


def _number(value: float | None) -> str:
    """4 significant digits; 'no data' is never 0."""
    if value is None:
        return NO_DATA
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.4g}"
