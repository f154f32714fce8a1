"""Verdicts on exposure, on the mix of traffic and on the measuring itself, in words."""

from __future__ import annotations

from stoploss.commands import Evidence
from stoploss.experiment import Experiment
from stoploss.rules.verdict import Outcome, Reason, Verdict, share_text


def watch_sentence(verdict: Verdict, experiment: Experiment) -> str | None:
    """What such a verdict says; None where it is of another kind."""
    control, treatment = experiment.control.name, experiment.treatment.name
    evidence = verdict.evidence
    match verdict.reason:
        case Reason.VARIANT_MOVED | Reason.WORLD_MOVED | Reason.CONTROL_MOVED if evidence.rule == "mix_drift":
            who = {
                Reason.VARIANT_MOVED: f"moved in variant {treatment!r} and not in {control!r}",
                Reason.CONTROL_MOVED: f"moved in control {control!r} and not in {treatment!r}",
            }.get(verdict.reason, "moved alike in both arms: the traffic changed, not the variant")
            return f"{evidence.metric} {who} ({_log_e(evidence)}; {_units(evidence)})"
        case Reason.MIX_DIFFERS:
            return (
                f"{evidence.metric} differs between the arms: units with {verdict.detail} are not split as configured "
                f"({_log_e(evidence)})"
            )
        case Reason.PARTIAL_EXPOSURE:
            return f"partial exposure: fewer units come to {treatment!r} than the split says ({_split(evidence)})"
        case Reason.OVER_EXPOSED:
            return (
                f"more units come to {treatment!r} than authorised ({_split(evidence)}); the exposure is ordered anew"
            )
        case Reason.STILL_OVER_EXPOSED:
            return f"after the exposure was ordered anew, still more units come to {treatment!r} ({_split(evidence)})"
        case Reason.EFFECTS_DIFFER:
            return _interaction(verdict, experiment)
        case _:
            return _of_measuring(verdict)


def _of_measuring(verdict: Verdict) -> str | None:
    evidence = verdict.evidence
    numbers = f"{_number(evidence.observed)} (limit {_number(evidence.bound)})"
    match verdict.reason:
        case Reason.JUDGE_MOVED:
            return (
                f"the judge moved: {evidence.n_control:,} items of the frozen set got grades that differ from their "
                f"first ones by {_number(evidence.estimate)} on average ({_log_e(evidence)})"
            )
        case Reason.PEOPLE_DISAGREE | Reason.PEOPLE_AGREE:
            word = "too seldom" if verdict.outcome == Outcome.BREACH else "often enough"
            return (
                f"people agree with the judge {word}: {_share(evidence.observed)} of {evidence.n_control:,} audited "
                f"traces (between {_share(evidence.lower)} and {_share(evidence.upper)}, "
                f"at least {_share(evidence.bound)} wanted)"
            )
        case Reason.SCORES_LATE:
            return f"scores {evidence.metric!r} come late: {evidence.statistic}: {numbers}"
        case Reason.NOT_APPLIED:
            return f"{verdict.detail}: the command is not applied after {numbers} further sendings"
        case Reason.APPLIED:
            return "every required controller has applied the command"
        case Reason.OPPOSITE_SIGNS:
            return f"{evidence.metric} move in opposite directions between the arms ({_log_e(evidence)} each)"
        case Reason.CORRELATION_FELL:
            return f"{evidence.metric} no longer go together: {evidence.statistic} {numbers}"
        case Reason.RUNS_OUT:
            return (
                f"{evidence.metric}: the budget runs out before its period ends with a probability of "
                f"{_share(evidence.observed)}; it lasts {_number(evidence.estimate)} hours more "
                f"(between {_number(evidence.lower)} and {_number(evidence.upper)})"
            )
        case _:
            return _of_what_is_missing(verdict)


def _of_what_is_missing(verdict: Verdict) -> str | None:
    """Traces and outcomes that do not say what they should, or are not there."""
    evidence = verdict.evidence
    n = max(evidence.n_control, evidence.n_treatment)
    match verdict.reason:
        case Reason.SCORES_MISSING:
            return (
                f"{evidence.statistic}: {_share(evidence.observed)} of {n:,}, at least {_share(evidence.bound)} wanted"
            )
        case Reason.SPENT_UNCOUNTED:
            return (
                f"{evidence.statistic}: {_share(evidence.observed)} of {n:,} (limit {_share(evidence.bound)}): "
                "no budget or guardrail sees what they spent; is their model in the table of prices?"
            )
        case Reason.OUTCOMES_UNRESOLVED:
            return f"{evidence.statistic}: {_share(evidence.observed)} (limit {_share(evidence.bound)})"
        case Reason.REJECTS_DIFFER:
            return (
                f"intake refuses traces of one arm more often than of the other: {_share(evidence.treatment)} of the "
                f"treatment's and {_share(evidence.control)} of control's ({_log_e(evidence)})"
            )
        case _:
            return None


def _interaction(verdict: Verdict, experiment: Experiment) -> str:
    """Both effects, and how they differ; of a logarithm the effects are relative, and so is how they differ."""
    evidence, statistic = verdict.evidence, str(verdict.evidence.statistic)
    text, first = _share if statistic.startswith("relative") else _number, statistic.rpartition(" for ")[2]
    subject = f"{evidence.metric} ({verdict.detail})" if verdict.detail else evidence.metric
    return (
        f"{subject}: what {experiment.treatment.name!r} does depends on the other experiment: it changes it by "
        f"{text(evidence.treatment)} for {verdict.stream} and by {text(evidence.control)} for {first}; the "
        f"difference is between {text(evidence.lower)} and {text(evidence.upper)} ({_log_e(evidence)}; "
        f"{evidence.n_treatment:,} and {evidence.n_control:,} traces)"
    )


def _log_e(evidence: Evidence) -> str:
    return f"log evidence {_number(evidence.observed)}, limit {_number(evidence.bound)}"


def _units(evidence: Evidence) -> str:
    return f"{evidence.units_treatment:,} and {evidence.units_control:,} units"


def _split(evidence: Evidence) -> str:
    total = evidence.units_control + evidence.units_treatment
    share = share_text(evidence.units_treatment / total) if total else "none"
    return f"{share} of {total:,}; {_log_e(evidence)}"


def _share(value: float | None) -> str:
    return "no data" if value is None else share_text(value)


def _number(value: float | None) -> str:
    return "no data" if value is None else f"{value:,.4g}"
