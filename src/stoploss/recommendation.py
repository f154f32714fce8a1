"""Rollout, iterate or rollback: what is recommended to the person who decides, from the verdicts and the spec alone.

Rollback never waits: shown harm is enough. Rollout asks for all four kinds of evidence (an offline evaluation,
production traces, segments, a budget for cost and one for latency), none against it, every guardrail shown to be safe
and nothing in breach. Everything else is iterate, with the gaps in words. No command follows from any of the three.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from stoploss.experiment import Experiment
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict

Verdicts = Mapping[str, str]
"""What each stream said last, as 'outcome/reason' by 'rule/stream'; a breach stays."""

STREAM = "recommendation"
UTILITY = "objective/utility"
COSTS = frozenset({"cost_usd", "input_tokens", "output_tokens", "reasoning_tokens"})
LATENCIES = frozenset({"latency_ms", "time_to_first_token_ms"})
UNSEEN = frozenset({Reason.BELOW_FLOOR, Reason.NO_CONTRAST})
NUMBERED = re.compile(r"(guardrail|regression|budget|drift)\[(\d+)\]")
IN_CONTROL = " in control"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """word is Outcome.ROLLOUT, ITERATE or ROLLBACK; why: the harm that was shown, or the gaps before a rollout."""

    word: Outcome
    reason: Reason
    why: tuple[str, ...]


AT_FIRST = f"{Outcome.ITERATE}/{Reason.NOTHING_SHOWN}"
"""What a run begins with, and what is no news therefore."""


def recommend(experiment: Experiment, verdicts: Verdicts, failing: Sequence[str] = ()) -> Recommendation:
    """failing: evaluation sets with its own regression cases whose newest results failed, a sentence each."""
    if harm := tuple(_harm(experiment, verdicts)):
        return Recommendation(Outcome.ROLLBACK, Reason.HARM_SHOWN, harm)
    gaps = (*failing, *_gaps(experiment, verdicts))
    if not gaps:
        return Recommendation(Outcome.ROLLOUT, Reason.EVIDENCE_COMPLETE, ())
    worth = _outcome(verdicts.get(UTILITY, ""))
    if worth == Outcome.BETTER:
        return Recommendation(Outcome.ITERATE, Reason.EVIDENCE_MISSING, gaps)
    if worth == Outcome.EQUIVALENT:
        return Recommendation(Outcome.ITERATE, Reason.UTILITY_WITHIN_INDIFFERENCE, gaps)
    return Recommendation(Outcome.ITERATE, Reason.NOTHING_SHOWN, gaps)


def verdict_of(recommendation: Recommendation, said: Sequence[Verdict]) -> Verdict:
    """The recommendation as a verdict of the objective, with the numbers of its sum.

    said  verdicts of the objective, the sum first
    """
    # Harm in a guardrail has been told already, by who found it; a loss that no guardrail saw is news for people.
    alone = recommendation.word == Outcome.ROLLBACK and said[0].outcome == Outcome.WORSE
    return Verdict(
        STREAM,
        recommendation.word,
        recommendation.reason,
        replace(said[0].evidence, metric=STREAM),
        Response(None, Severity.HOLD if alone else Severity.INFO),
        detail="; ".join(recommendation.why),
    )


# ---- harm ----------------------------------------------------------------------------------------


def _harm(experiment: Experiment, verdicts: Verdicts) -> Iterator[str]:
    if _outcome(verdicts.get(UTILITY, "")) == Outcome.WORSE:
        yield "the treatment is worth less than control"
    for stream, said in verdicts.items():
        if _outcome(said) == Outcome.BREACH and _is_harm(stream):
            yield f"{_name(experiment, stream)} is in breach"


def _is_harm(stream: str) -> bool:
    """Harm of the treatment to everybody. Of one segment, or in control, it speaks against a rollout only."""
    rule, _, of = stream.partition("/")
    if rule == "gate":
        return not of.endswith(IN_CONTROL)
    return rule.startswith(("guardrail[", "regression[")) and "=" not in of


# ---- gaps ----------------------------------------------------------------------------------------


def _gaps(experiment: Experiment, verdicts: Verdicts) -> Iterator[str]:
    yield from _offline(experiment)
    yield from _traces(experiment, verdicts)
    yield from _segments(experiment, verdicts)
    yield from _budgets(experiment)
    yield from _guardrails(experiment, verdicts)
    for stream, said in verdicts.items():
        if _outcome(said) == Outcome.BREACH:
            yield f"{_name(experiment, stream)} is in breach"


def _offline(experiment: Experiment) -> Iterator[str]:
    offline = experiment.spec.evidence.offline
    if offline is None:
        yield "no offline evaluation is stated (spec.evidence.offline)"
    elif not offline.passed:
        yield f"the offline evaluation {offline.suite} {offline.version} of {offline.at} did not pass"


def _traces(experiment: Experiment, verdicts: Verdicts) -> Iterator[str]:
    worth = _outcome(verdicts.get(UTILITY, ""))
    objective = experiment.spec.objective
    if worth == Outcome.EQUIVALENT and objective is not None:
        yield f"production traces show no difference beyond the indifference of {objective.indifference:g}"
    elif worth != Outcome.BETTER:
        yield "production traces do not show a gain"


def _segments(experiment: Experiment, verdicts: Verdicts) -> Iterator[str]:
    if not experiment.spec.segments:
        yield "no segments are declared, so harm to some users alone would not be seen"
        return
    seen = any(
        stream.startswith("guardrail[") and "=" in stream and said.partition("/")[2] not in UNSEEN
        for stream, said in verdicts.items()
    )
    if not seen:
        yield f"no segment has enough traces to be judged yet (of {', '.join(experiment.spec.segments)})"


def _budgets(experiment: Experiment) -> Iterator[str]:
    spec = experiment.spec
    watched = {guardrail.metric for guardrail in spec.guardrails} | {budget.watched for budget in spec.budgets}
    for what, metrics, example in (("cost", COSTS, "cost_usd"), ("latency", LATENCIES, "latency_ms")):
        if not watched & metrics:
            yield f"no budget or guardrail watches {what} (such as {example})"


def _guardrails(experiment: Experiment, verdicts: Verdicts) -> Iterator[str]:
    if not experiment.spec.guardrails:
        yield "no guardrail is declared"
    for index in range(len(experiment.spec.guardrails)):
        stream = f"guardrail[{index}]/everybody"
        if _outcome(verdicts.get(stream, "")) not in (Outcome.SAFE, Outcome.BREACH):
            yield f"{_name(experiment, stream)} is not shown to be safe yet"


# ---- words ---------------------------------------------------------------------------------------


def _outcome(said: str) -> str:
    return said.partition("/")[0]


def _name(experiment: Experiment, stream: str) -> str:
    """'guardrail[0]/tenant=acme' -> 'the guardrail on latency_ms for tenant=acme'."""
    rule, _, of = stream.partition("/")
    if rule == "gate":
        return f"the gate {of}"
    if (found := NUMBERED.fullmatch(rule)) is None:
        return f"{rule.replace('_', ' ')} ({of})"
    metric = _metric(experiment, found[1], int(found[2]))
    where = "" if of in ("everybody", "") else f" for {of}" if "=" in of else f" ({of})"
    return f"the {found[1]} {'of' if found[1] == 'drift' else 'on'} {metric}{where}"


def _metric(experiment: Experiment, rule: str, index: int) -> str | None:
    spec = experiment.spec
    if rule == "budget":
        return spec.budgets[index].watched
    if rule == "drift":
        return spec.drift[index].metric or spec.drift[index].mix
    return spec.guardrails[index].metric
