"""As preregistered: what was frozen when the experiment was registered, and each amendment since, with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.experiment import Experiment, Ramp
from stoploss.incidents.facts import Asked
from stoploss.registry import RegistryEntry
from stoploss.review.guardrails import guardrail_results, margin_text, metric_text
from stoploss.review.spelled import spelled
from stoploss.review.words import listed, moment, number, quantity, share
from stoploss.spec.base import duration_text
from stoploss.spec.budgets import Budget, BurnAction
from stoploss.spec.file import parse_experiment
from stoploss.spec.guardrails import Guardrail

NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class Term:
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class AmendmentLine:
    """fields: what it changed; voided: whether approvals were lost by it."""

    at: datetime
    by: str
    reason: str
    fields: tuple[str, ...]
    voided: bool
    spec_hash: str


@dataclass(frozen=True, slots=True)
class Preregistered:
    """
    spec_hash  of the spec as it was registered
    at, by     of its registration; None: the request is not stored (yet, or any more)
    terms      what it promised to be judged by, in words
    """

    spec_hash: str
    at: datetime | None
    by: str | None
    terms: tuple[Term, ...]
    amendments: tuple[AmendmentLine, ...]


def preregistered(experiment: Experiment, asked: Sequence[Asked], entry: RegistryEntry | None) -> Preregistered:
    """Raises InvalidExperiment where this version cannot read the spec that was registered.

    experiment  the spec in force: the registered one, where its request is not stored
    asked       the accepted requests of the experiment, in order
    entry       the registry's last word; None: not stored
    """
    found = registration(asked)
    first = parse_experiment(found.request.spec or "", "the registered spec") if found else experiment
    return Preregistered(
        spec_hash=first.spec_hash,
        at=found.at if found else None,
        by=found.request.by if found else None,
        terms=tuple(terms(first)),
        amendments=tuple(_amendments(entry)),
    )


def registration(asked: Sequence[Asked]) -> Asked | None:
    """The request that froze the spec. A later one changed nothing, unless it is from before that was so."""
    found = None
    for one in asked:
        if one.request.action == "register" and one.request.spec and (found is None or not one.request.freezes):
            found = one
    return found


def _amendments(entry: RegistryEntry | None) -> Iterator[AmendmentLine]:
    for one in entry.amendments if entry else ():
        yield AmendmentLine(moment(one.at), one.by, one.reason, one.fields, one.voided, one.spec_hash)


def terms(experiment: Experiment) -> Iterator[Term]:
    """Everything that a verdict rests on and that could have been chosen after seeing the data.

    What has no words of its own stands as in the spec, with its defaults.
    """
    spec = experiment.spec
    yield Term("hypothesis", spec.hypothesis)
    yield Term("unit of change", listed(spec.factors or (spec.unit,)))
    yield Term("target", _target(experiment))
    for case, what in spec.success.then.items():
        yield Term(f"if {case}", what)
    for guardrail, said in zip(spec.guardrails, guardrail_results(experiment, (), ()), strict=True):
        yield Term(
            f"guardrail on {metric_text(said)}",
            f"{margin_text(said)}; α {guardrail.alpha:g}; a breach leads to {_action(guardrail)}",
        )
    yield Term("segments", listed(spec.segments))
    yield Term("gates", listed([f"{choice.gate} ({choice.action})" for choice in experiment.gates]))
    yield from _objective(experiment)
    yield from (Term(f"budget on {budget.watched}", _budget(experiment, budget)) for budget in spec.budgets)
    yield Term("stages of exposure", listed([_stage(spec.ramp, exposure) for exposure in spec.ramp.shares]))
    if spec.ramp.auto_advance:
        yield Term("the ramp goes on by itself", _by_itself(spec.ramp))
    yield from _as_written(experiment)


def _as_written(experiment: Experiment) -> Iterator[Term]:
    """Names as in the spec; a list that is empty says that nothing is watched or asked."""
    spec = experiment.spec
    yield from (Term(f"drift of {watch.metric or watch.mix}", spelled(watch)) for watch in spec.drift)
    yield Term("health", spelled(spec.health))
    yield Term("userImpact", spec.user_impact)
    yield Term("randomisationUnit", spec.assignment.randomisation_unit)
    yield Term("serviceTimeout", duration_text(spec.assignment.service_timeout))
    yield Term("privacy", spelled({"pii": spec.privacy.pii, "minimumCell": spec.privacy.minimum_cell}))
    for name, part in (("path", spec.path), ("limits", spec.limits)):
        if part.model_fields_set:
            yield Term(name, spelled(part))
    for name, listing in (("windows", spec.windows), ("freezes", spec.freezes)):
        if listing:
            yield Term(name, spelled([one.model_dump(mode="json", by_alias=True) for one in listing]))
    if spec.safe_share is not None:
        yield Term("safeShare", share(spec.safe_share))
    if spec.ramp.watch is not None:
        yield Term("watched at full exposure", duration_text(spec.ramp.watch))


def _action(guardrail: Guardrail) -> str:
    """And behind it what of the guardrail its metric's name does not tell."""
    parts = guardrail.model_dump(include={"quantile", "threshold", "covariate"}, exclude_none=True)
    return "; ".join([guardrail.action, *(f"{name} {spelled(value)}" for name, value in parts.items())])


def _stage(ramp: Ramp, exposure: float) -> str:
    """A stage, and what it has to have where the ramp goes on by itself."""
    if not ramp.auto_advance:
        return share(exposure)
    least = ramp.at(exposure)
    return f"{share(exposure)} (for {duration_text(least.duration_s)} and {least.units:,} units at least)"


UNTIL = {"judged": "every guardrail has a verdict", "safe": "every guardrail has shown that B is within its margin"}
THEN = {"hold": "it is held", "revert": "exposure goes to the stage before"}


def _by_itself(ramp: Ramp) -> str:
    until, then = UNTIL[ramp.until or "judged"], THEN[ramp.then or "hold"]
    return f"inside its windows, once {until}; where a stage lacks that too long, {then}"


def _target(experiment: Experiment) -> str:
    success = experiment.spec.success
    unit = experiment.metric(success.metric).unit
    aims = (("baseline", success.baseline), ("worthwhile from", success.worthwhile))
    return "; ".join(
        [success.metric, *(f"{name} {NOT_STATED if it is None else quantity(it, unit)}" for name, it in aims)]
    )


def _objective(experiment: Experiment) -> Iterator[Term]:
    objective = experiment.spec.objective
    if objective is None:
        return
    strategy = f"; strategy {objective.strategy}" if objective.strategy else ""
    yield Term(
        "worth of B",
        f"α {objective.alpha:g}; λ of cost {number(objective.lambda_cost)}; λ of risk {number(objective.lambda_risk)}; "
        f"indifferent within {number(objective.indifference)}{strategy}",
    )
    weighed = [f"{risk.event} × {number(risk.weight)}" for risk in objective.risk]
    yield Term("risk", listed(weighed, "not defined, so nothing is weighed as risk"))


def _budget(experiment: Experiment, budget: Budget) -> str:
    acts = [f"{_act(action)} at {action.burn:g} times the planned rate" for action in budget.actions]
    return f"{_most(experiment, budget)} in {duration_text(budget.period)}; {listed(acts)}"


def _most(experiment: Experiment, budget: Budget) -> str:
    unit = experiment.metric(budget.watched).unit
    if budget.slo is None:
        return f"at most {quantity(budget.limit, unit)}"
    return f"{share(budget.slo.target)} of requests at or below {quantity(budget.slo.threshold, unit)}"


def _act(action: BurnAction) -> str:
    return action.do if action.to is None else f"{action.do} to {share(action.to)}"
