"""The objective's verdicts and the recommendation, in words: shares of control's quality, each with its limits."""

from __future__ import annotations

from collections.abc import Sequence

from stoploss.commands import Evidence
from stoploss.experiment import Experiment
from stoploss.rules.verdict import Outcome, Reason, Verdict, share_text

RECOMMENDED = {
    Outcome.ROLLOUT: "recommended: roll out",
    Outcome.ITERATE: "recommended: iterate",
    Outcome.ROLLBACK: "recommended: roll back",
}
PRICES = {"lambda_cost": "lambdaCost", "lambda_risk": "lambdaRisk"}


def utility_sentence(verdict: Verdict, experiment: Experiment, missing: str) -> str:
    """What the sum says; missing: what it still lacks."""
    evidence, treatment = verdict.evidence, experiment.treatment.name
    if verdict.reason == Reason.NO_REFERENCE:
        return f"the worth of {treatment!r} cannot be told: {verdict.detail}"
    if verdict.outcome == Outcome.UNDECIDED and missing:
        return f"the worth of {treatment!r} is undecided: {missing}"
    word = {
        Outcome.BETTER: "is worth more than control",
        Outcome.WORSE: "is worth less than control",
        Outcome.EQUIVALENT: f"is worth as much as control, within {evidence.margin:g}",
    }.get(verdict.outcome, "is not yet shown to be worth more or less than control")
    return f"{treatment!r} {word}: {effect_text(evidence)} of control's quality"


def recommendation_sentence(verdict: Verdict, said: Sequence[Verdict]) -> str:
    """The recommendation with its reasons, the sum, each term, and the prices at which it would flip."""
    words = RECOMMENDED[verdict.outcome]
    if verdict.detail:
        words += f" ({verdict.detail})"
    elif verdict.outcome == Outcome.ROLLOUT:
        words += " (all four kinds of evidence are there, none is against it)"
    numbers = [f"{_called(one)} {effect_text(one.evidence)}" for one in said if one.reason == Reason.PART_OF_UTILITY]
    if said[0].evidence.estimate is None:
        return words
    flips = [flip_text(one) for one in said if one.reason in (Reason.FLIPS, Reason.NEVER_FLIPS)]
    return "; ".join([f"{words}: worth {effect_text(said[0].evidence)} of control's quality", *numbers, *flips])


def _called(verdict: Verdict) -> str:
    return f"from {verdict.stream}"


def effect_text(evidence: Evidence) -> str:
    """'+3.1 % (1.2 % to 5.0 %)'; an end that is open is said so."""
    if evidence.estimate is None:
        return "no data"
    ends = [share_text(end) if end is not None else "no limit" for end in (evidence.lower, evidence.upper)]
    sign = "+" if evidence.estimate > 0 else ""
    return f"{sign}{share_text(evidence.estimate)} ({ends[0]} to {ends[1]})"


def flip_text(verdict: Verdict) -> str:
    """Between which prices the verdict turns."""
    evidence, price = verdict.evidence, PRICES[verdict.stream]
    if verdict.reason == Reason.NEVER_FLIPS:
        return f"no {price} turns the verdict"
    return f"the verdict turns at a {price} between {evidence.lower:.3g} and {evidence.upper:.3g}"
