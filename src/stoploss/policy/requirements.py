"""What a policy asks of a spec: each violation names the field, the value and the way out.

`stoploss check` says them in CI, the registrar at registration, the judge at every amendment: one function for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from stoploss.experiment import Experiment
from stoploss.metrics import METRICS
from stoploss.policy.model import AT_START, RISK, Evidence, Family, Policy
from stoploss.policy.units import factor_faults, guardrail_faults
from stoploss.spec.file import field_of

Path = tuple[str | int, ...]
Fault = tuple[Path, str]
Check = Callable[[Policy, Experiment], Iterator[Fault]]
ASSESSMENTS = ("privacy impact assessment", "risk assessment")
DOMAINS = ("product", "privacy", "security", "ethics")


def violations(policy: Policy, experiment: Experiment, *, as_before: bool = False) -> list[Fault]:
    """Everything that the policy refuses in a spec, as (path into the YAML, message).

    as_before  without what is refused since requests have editions (ledger.Request.edition): of an older ledger
    """
    risk = policy.risk_of(experiment.metadata.labels)
    classes = ", ".join(policy.spec.risk_classes)
    if risk is None:
        return [(("metadata", "labels"), f"names no class of risk; add {RISK}: one of {classes}")]
    if risk not in policy.spec.risk_classes:
        return [(("metadata", "labels", RISK), f"{risk!r} is no class of risk of the policy; there are {classes}")]
    found = [*_limits(policy, experiment, risk), *_metrics(policy, experiment), *_strategy(policy, experiment)]
    found += [*_domains(experiment), *factor_faults(experiment), *_retention(policy, experiment)]
    for evidence in policy.required(risk):
        if evidence not in AT_START:
            found += CHECKS[evidence](policy, experiment)
    if "risk_register" in policy.required(risk) and not as_before:
        found += _likely_risks(experiment)
    return found


def said_of(policy: Policy, experiment: Experiment, *, as_before: bool = False) -> str | None:
    """All violations in one sentence, or None."""
    faults = violations(policy, experiment, as_before=as_before)
    found = [f"{field_of(path)}: {message}" for path, message in faults]
    return f"policy {policy.metadata.name!r} does not allow the spec: {'; '.join(found)}" if found else None


def at_start(policy: Policy, experiment: Experiment) -> Iterator[Fault]:
    """What would be missing at the start already: said in CI, where nobody has waived it yet."""
    risk = policy.risk_of(experiment.metadata.labels)
    if risk in policy.spec.risk_classes and "offline_evaluation" in policy.required(risk):
        for message in evaluation_faults(experiment):
            yield ("spec", "evidence", "offline"), message


def evaluation_faults(experiment: Experiment) -> Iterator[str]:
    offline = experiment.spec.evidence.offline
    if offline is None:
        yield "no offline evaluation is stated; add evidence.offline, or have an approver waive it"
    elif not offline.passed:
        yield f"the offline evaluation {offline.suite} {offline.version} has failed; state one that passes"


def _limits(policy: Policy, experiment: Experiment, risk: str) -> Iterator[Fault]:
    limits, spec = policy.spec.risk_classes[risk], experiment.spec
    for index, stage in enumerate(spec.ramp.shares):
        if stage > limits.largest_exposure:
            at: Path = ("spec", "ramp", "stages", index)
            yield at, f"{stage:g} is more than class {risk!r} may be exposed: at most {limits.largest_exposure:g}"
    alphas: list[tuple[Path, float]] = [
        (("spec", "guardrails", index, "alpha"), guardrail.alpha) for index, guardrail in enumerate(spec.guardrails)
    ]
    if spec.objective is not None:
        alphas.append((("spec", "objective", "alpha"), spec.objective.alpha))
    for path, alpha in alphas:
        if alpha > limits.largest_alpha:
            yield path, f"{alpha:g} is more error than class {risk!r} may be given: at most {limits.largest_alpha:g}"


def _metrics(policy: Policy, experiment: Experiment) -> Iterator[Fault]:
    """Scores have to be the organisation's, and good in the direction that it says."""
    defined = policy.spec.metrics
    if not defined:
        return
    known = ", ".join(defined)
    for name in experiment.declared_scores:
        if name not in defined:
            yield ("spec", "scores"), f"the organisation defines no metric {name!r}; defined are {known}"
    for index, guardrail in enumerate(experiment.spec.guardrails):
        better = defined[guardrail.metric].better if guardrail.metric in defined else None
        if better not in (None, guardrail.direction):
            at: Path = ("spec", "guardrails", index, "direction")
            yield at, f"{guardrail.direction!r} contradicts the policy: of {guardrail.metric!r}, {better} is better"


def _retention(policy: Policy, experiment: Experiment) -> Iterator[Fault]:
    """Each data class of an arm bounds how long the traces of both stay."""
    asked = int(experiment.spec.privacy.retention)
    for name in sorted({name for variant in experiment.arms for name in variant.data_classes}):
        most = policy.spec.retention.get(name)
        if most is not None and asked > most:
            at: Path = ("spec", "privacy", "retention")
            yield at, f"{asked / 86_400:g} days are more than data class {name!r} may stay: at most {most / 86_400:g}"


def _strategy(policy: Policy, experiment: Experiment) -> Iterator[Fault]:
    objective, strategies = experiment.spec.objective, policy.spec.strategies
    if objective is None or not strategies:
        return
    known = ", ".join(strategies)
    if objective.strategy is None:
        yield ("spec", "objective"), f"names no strategy; add strategy: one of {known}"
        return
    if objective.strategy not in strategies:
        yield ("spec", "objective", "strategy"), f"{objective.strategy!r} is no strategy; there are {known}"
        return
    wanted = strategies[objective.strategy]
    for field, found, right in (
        ("lambdaCost", objective.lambda_cost, wanted.lambda_cost),
        ("lambdaRisk", objective.lambda_risk, wanted.lambda_risk),
    ):
        if found != right:
            yield ("spec", "objective", field), f"{found:g} is not that of {objective.strategy!r}; write {right:g}"


def _domains(experiment: Experiment) -> Iterator[Fault]:
    for index, domain in enumerate(experiment.spec.approvals.from_):
        if domain not in DOMAINS:
            known = ", ".join(DOMAINS)
            yield ("spec", "approvals", "from", index), f"{domain!r} is no domain of approvals; there are {known}"


# ---- evidence that a spec has to hold --------------------------------------------------------------


def _success(_: Policy, experiment: Experiment) -> Iterator[Fault]:
    success = experiment.spec.success
    for field, value in (("baseline", success.baseline), ("worthwhile", success.worthwhile)):
        if value is None:
            yield ("spec", "success"), f"{field} is missing; state it for {success.metric!r}, in its own unit"
    if missing := [case for case in ("better", "same", "worse") if case not in success.then]:
        yield ("spec", "success", "then"), f"does not say what is done in case of: {', '.join(missing)}"


def _families(policy: Policy, experiment: Experiment) -> Iterator[Fault]:
    watched = set(_watched(experiment))
    for family in ("business", "wellbeing", "health"):
        if not any(_family_of(policy, name) == family for name in watched):
            defined = [name for name, metric in policy.spec.metrics.items() if metric.family == family]
            some = f"such as {', '.join(defined[:3])}" if defined else "which the policy has yet to define"
            yield ("spec", "guardrails"), f"no metric of the family {family!r} is watched; add one, {some}"


def _watched(experiment: Experiment) -> Iterable[str]:
    spec = experiment.spec
    return (spec.success.metric, *(guardrail.metric for guardrail in spec.guardrails))


def _family_of(policy: Policy, name: str) -> Family | None:
    """What is measured on every trace tells how the system does, unless the policy says otherwise."""
    if name in policy.spec.metrics:
        return policy.spec.metrics[name].family
    return "health" if name in METRICS else None


def _resources(_: Policy, experiment: Experiment) -> Iterator[Fault]:
    for index, variant in enumerate(experiment.spec.variants):
        declared = {"model": variant.model, "prompt": variant.prompt, "promptHash": variant.prompt_hash}
        if missing := [name for name, value in declared.items() if not value]:
            yield ("spec", "variants", index), f"{variant.name!r} declares no {' and no '.join(missing)}"


def _unit_guardrails(_: Policy, experiment: Experiment) -> Iterator[Fault]:
    yield from guardrail_faults(experiment)


def _risks(_: Policy, experiment: Experiment) -> Iterator[Fault]:
    spec = experiment.spec
    if not spec.risks:
        yield ("spec",), "holds no risks; list who could be harmed, how, and which gate or guardrail would notice"
    known = {*(choice.gate for choice in experiment.gates), *(guardrail.metric for guardrail in spec.guardrails)}
    for index, risk in enumerate(spec.risks):
        at: Path = ("spec", "risks", index)
        if risk.severity == "high" and not risk.watched_by:
            yield (*at, "watchedBy"), f"nothing watches {risk.harm!r}, which is severe; name a gate or guardrail"
        for name in risk.watched_by:
            if name not in known:
                yield (*at, "watchedBy"), f"{name!r} is neither a gate nor the metric of a guardrail of this spec"
        if risk.recheck is None:
            yield (*at, "recheck"), f"{risk.harm!r} has no date by which it is assessed again"


def _likely_risks(experiment: Experiment) -> Iterator[Fault]:
    """By severity times likelihood: what is likely and of medium severity is as bad as what is severe."""
    for index, risk in enumerate(experiment.spec.risks):
        if (risk.severity, risk.likelihood) == ("medium", "high") and not risk.watched_by:
            at: Path = ("spec", "risks", index, "watchedBy")
            yield at, f"nothing watches {risk.harm!r}, which is likely and no small harm; name a gate or guardrail"


def _present(field: str, way_out: str) -> Check:
    """A part of the spec that has to be there."""

    def check(_: Policy, experiment: Experiment) -> Iterator[Fault]:
        if not getattr(experiment.spec, field):
            yield ("spec",), f"has no {field}; {way_out}"

    return check


def _assessments(_: Policy, experiment: Experiment) -> Iterator[Fault]:
    """They are baselines: dated, with a source, and overdue when nobody has looked at them again in time."""
    stated = {one.item for one in experiment.spec.baselines}
    for item in ASSESSMENTS:
        if item not in stated:
            yield ("spec", "baselines"), f"has no {item!r}; add it with the day it was taken and where it stands"


def _rollback_plan(_: Policy, experiment: Experiment) -> Iterator[Fault]:
    if not experiment.spec.rollback.plan:
        yield ("spec", "rollback"), "has no plan; say what is done beside the flag, or that nothing has to be"


CHECKS: dict[Evidence, Check] = {
    "success": _success,
    "metric_families": _families,
    "unit_guardrails": _unit_guardrails,
    "resources": _resources,
    "risk_register": _risks,
    "assessments": _assessments,
    "baselines": _present("baselines", "list what the experiment rests on: item, taken, source"),
    "owners": _present("owners", "name who answers for data, model and evaluation"),
    "purpose": _present("purpose", "give text and legalBasis"),
    "rollback_plan": _rollback_plan,
    "traffic": _present("traffic", "name the surfaces, tenants or users that it may reach"),
}
"""What a spec has to hold, by the name under which a policy requires it; the rest of Evidence is asked at the start."""
