"""The four kinds of evidence that a rollout rests on: which are there, which are missing, which speak against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from stoploss.cases.standing import LastResult, Offline
from stoploss.experiment import Experiment
from stoploss.recommendation import COSTS, LATENCIES
from stoploss.review.guardrails import GuardrailResult
from stoploss.review.recommended import Recommended
from stoploss.review.watched import WatchLine
from stoploss.review.words import count, listed

FOR, MISSING, AGAINST, OPEN = "for B", "missing", "against B", "open"


@dataclass(frozen=True, slots=True)
class Kind:
    """standing: FOR, AGAINST, OPEN (it is there and shows neither) or MISSING; says: in a sentence."""

    kind: str
    standing: str
    says: str


@dataclass(frozen=True, slots=True)
class Fourfold:
    """contradiction: which kinds speak for B and which against it; None: they do not contradict each other."""

    kinds: tuple[Kind, ...]
    contradiction: str | None


def fourfold(
    experiment: Experiment,
    offline: Offline,
    recommended: Recommended | None,
    guardrails: Sequence[GuardrailResult],
    segments: Sequence[GuardrailResult],
    watch: Sequence[WatchLine],
) -> Fourfold:
    kinds = (
        _offline(experiment, offline),
        _traces(recommended, guardrails),
        _segments(experiment, segments),
        _budgets(experiment, guardrails, watch),
    )
    return Fourfold(kinds, contradiction(kinds))


def contradiction(kinds: Sequence[Kind]) -> str | None:
    """
    >>> contradiction([Kind("offline evaluation", FOR, ""), Kind("production traces", AGAINST, "")])
    'offline evaluation speaks for B, production traces against it'
    """
    pro, contra = ([kind.kind for kind in kinds if kind.standing == side] for side in (FOR, AGAINST))
    if not pro or not contra:
        return None
    return f"{listed(pro)} {'speaks' if len(pro) == 1 else 'speak'} for B, {listed(contra)} against it"


def _offline(experiment: Experiment, offline: Offline) -> Kind:
    kind, stated = "offline evaluation", experiment.spec.evidence.offline
    failed = [result.subject for result in _newest(offline) if result.failed]
    if failed:
        return Kind(kind, AGAINST, f"regression cases failed offline: {listed(failed)}")
    if stated is None:
        return Kind(kind, MISSING, "the spec states none (evidence.offline)")
    word = "passed" if stated.passed else "did not pass"
    return Kind(kind, FOR if stated.passed else AGAINST, f"{stated.suite} {stated.version} {word} on {stated.at}")


def _newest(offline: Offline) -> Iterable[LastResult]:
    """The last results on each evaluation set, whatever version or subject they are of: as the judge holds it."""
    found: dict[str, LastResult] = {}
    for promoted in offline.promoted:
        for result in promoted.results:
            known = found.get(promoted.evaluation_set)
            if known is None or result.at >= known.at:
                found[promoted.evaluation_set] = result
    return found.values()


def _traces(recommended: Recommended | None, guardrails: Sequence[GuardrailResult]) -> Kind:
    kind = "production traces"
    breached = [result.metric for result in guardrails if result.verdict == "breach"]
    if breached:
        return Kind(kind, AGAINST, f"harm is shown in {listed(breached)}")
    if not any(result.n_treatment for result in guardrails) and recommended is None:
        return Kind(kind, MISSING, "nothing has been judged")
    if recommended is None:
        return Kind(kind, OPEN, "the spec has no objective, so no gain can be shown")
    standing = {"better": FOR, "worse": AGAINST}.get(recommended.worth.partition(":")[0], OPEN)
    return Kind(kind, standing, f"against control B is {recommended.worth}")


def _segments(experiment: Experiment, segments: Sequence[GuardrailResult]) -> Kind:
    kind = "segments"
    if not experiment.spec.segments:
        return Kind(kind, MISSING, "none are declared, so harm to some users alone would not be seen")
    breached = dict.fromkeys(str(result.segment) for result in segments if result.verdict == "breach")
    if breached:
        return Kind(kind, AGAINST, f"harm is shown in {listed(list(breached))}")
    judged = [result for result in segments if result.reason not in ("below_floor", "no_contrast", "")]
    if not judged:
        return Kind(kind, MISSING, f"none has enough traces to be judged yet (of {listed(experiment.spec.segments)})")
    safe = sum(result.verdict == "safe" for result in judged)
    says = f"{count(safe)} of {count(len(judged))} judged are shown to be safe, none is harmed"
    return Kind(kind, FOR if safe == len(judged) else OPEN, says)


def _budgets(experiment: Experiment, guardrails: Sequence[GuardrailResult], watch: Sequence[WatchLine]) -> Kind:
    kind = "cost and latency"
    missing = list(_unwatched(experiment))
    harmed = [result.metric for result in guardrails if result.metric in COSTS | LATENCIES and _breached(result)]
    harmed += [str(line.metric) for line in watch if line.group == "Budgets" and line.verdict == "breach"]
    if harmed:
        return Kind(kind, AGAINST, f"in breach: {listed(list(dict.fromkeys(harmed)))}")
    if missing:
        return Kind(kind, MISSING, f"no budget or guardrail watches {listed(missing)}")
    return Kind(kind, FOR, "both are watched, and neither is in breach")


def _unwatched(experiment: Experiment) -> Iterator[str]:
    spec = experiment.spec
    watched = {guardrail.metric for guardrail in spec.guardrails} | {budget.watched for budget in spec.budgets}
    yield from (name for name, metrics in (("cost", COSTS), ("latency", LATENCIES)) if not watched & metrics)


def _breached(result: GuardrailResult) -> bool:
    return result.verdict == "breach"
