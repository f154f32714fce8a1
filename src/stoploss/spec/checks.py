"""What a well-formed spec must also satisfy: each check names the field, the value and the way out."""

from __future__ import annotations

from collections.abc import Iterator

from stoploss import metrics
from stoploss.canary import PREFIX, is_canary
from stoploss.experiment import (
    ALWAYS_ON_GATES,
    BESIDE,
    CROSS,
    DECLARABLE_GATES,
    SWITCHED_ON_GATES,
    Experiment,
    others_in,
)
from stoploss.governance import hours
from stoploss.governance.windows import fault, freeze_fault
from stoploss.policy.model import Policy
from stoploss.spec.base import NAME
from stoploss.spec.budgets import Budget
from stoploss.spec.contract_checks import contract_faults
from stoploss.spec.guardrail_checks import guardrail_faults
from stoploss.spec.objective_checks import objective_faults
from stoploss.spec.watch_checks import watch_faults

Path = tuple[str | int, ...]
Fault = tuple[Path, str]


def faults(experiment: Experiment) -> Iterator[Fault]:
    """Every fault as (path into the YAML, message)."""
    yield from _names(experiment)
    yield from _variants(experiment)
    yield from _segments(experiment)
    yield from _gates(experiment)
    yield from contract_faults(experiment)
    yield from _scores(experiment)
    yield from _guardrails(experiment)
    yield from _watched_metrics(experiment)
    yield from objective_faults(experiment)
    yield from _windows(experiment)


def _names(experiment: Experiment) -> Iterator[Fault]:
    if is_canary(experiment.name):
        yield ("metadata", "name"), f"names that begin with {PREFIX!r} are the monitor's own; give another one"
    if experiment.name in experiment.spec.overlaps:
        yield ("spec", "overlaps"), f"{experiment.name!r} is the experiment itself; name others, or take it out"


def _variants(experiment: Experiment) -> Iterator[Fault]:
    spec = experiment.spec
    names = [variant.name for variant in spec.variants]
    if len(names) != 2 or len(set(names)) != 2:
        yield (
            ("spec", "variants"),
            f"{names} are declared; an experiment compares exactly one treatment with one control: "
            "register another experiment for each further variant",
        )
        return
    if spec.assignment.control not in names:
        yield (
            ("spec", "assignment", "control"),
            f"{spec.assignment.control!r} is no variant; declared are {', '.join(names)}",
        )
    elif spec.rollback.to != spec.assignment.control:
        yield (
            ("spec", "rollback", "to"),
            f"{spec.rollback.to!r} is not the control variant {spec.assignment.control!r}; "
            "a rollback goes to what is known to be safe",
        )


def _segments(experiment: Experiment) -> Iterator[Fault]:
    dimensions = experiment.spec.segments
    for index, dimension in enumerate(dimensions):
        if dimension in dimensions[:index]:
            yield ("spec", "segments", index), f"{dimension!r} is listed twice; keep one"
        if any(not part.strip() for part in dimension.split(CROSS)):
            yield (
                ("spec", "segments", index),
                f"{dimension!r} is no dimension; write an attribute, or a cross such as tenant{CROSS}language",
            )
        for name in others_in(dimension):
            if name == experiment.name or not NAME.fullmatch(name):
                yield ("spec", "segments", index), f"{name!r} is no other experiment; write {BESIDE}NAME of one"


def _gates(experiment: Experiment) -> Iterator[Fault]:
    known = (*ALWAYS_ON_GATES, *DECLARABLE_GATES, *SWITCHED_ON_GATES)
    for index, choice in enumerate(experiment.spec.gates):
        if choice.gate not in known:
            yield ("spec", "gates", index), f"unknown gate {choice.gate!r}; known gates: {', '.join(known)}"


def _scores(experiment: Experiment) -> Iterator[Fault]:
    for name in experiment.declared_scores:
        if not name or ":" in name:
            yield ("spec", "scores"), f"{name!r} is no name of a score; give one without ':'"


def _known_metrics(experiment: Experiment) -> tuple[str, ...]:
    return (*metrics.METRICS, *experiment.declared_scores)


def _unknown(experiment: Experiment, name: str) -> str | None:
    known = _known_metrics(experiment)
    if name in known:
        return None
    return f"unknown metric {name!r}; known metrics: {', '.join(known)} (further scores are declared under spec.scores)"


def _guardrails(experiment: Experiment) -> Iterator[Fault]:
    for index, guardrail in enumerate(experiment.spec.guardrails):
        at: Path = ("spec", "guardrails", index)
        if message := _unknown(experiment, guardrail.metric):
            yield (*at, "metric"), message
        else:
            yield from (((*at, *path), message) for path, message in guardrail_faults(experiment, index))


def _watched_metrics(experiment: Experiment) -> Iterator[Fault]:
    spec = experiment.spec
    yield from watch_faults(experiment)
    for index, watch in enumerate(spec.drift):
        if watch.metric is not None and (message := _unknown(experiment, watch.metric)):
            yield ("spec", "drift", index, "metric"), message
    for index, budget in enumerate(spec.budgets):
        at: Path = ("spec", "budgets", index)
        if message := _unknown(experiment, budget.watched):
            yield at, message
        else:
            yield from _budget(experiment.metric(budget.watched), budget, at)


def _budget(metric: metrics.Metric, budget: Budget, at: Path) -> Iterator[Fault]:
    if budget.limit is not None and not metric.positive:
        yield (*at, "metric"), f"{metric.name!r} can be 0 or below, so it cannot be spent; watch cost or tokens"
    elif budget.limit is not None and round(budget.limit * metric.scale) < 1:
        yield (*at, "limit"), f"{budget.limit:g} {metric.unit} is less than the smallest amount that is counted"
    if budget.slo is not None and metric.better == "higher":
        yield (
            (*at, "slo", "metric"),
            f"an slo counts requests above its threshold as bad, but more of {metric.name!r} is better; "
            "put a guardrail on it instead",
        )
    streams = [action.burn for action in budget.actions]
    if len(set(streams)) != len(streams):
        yield (*at, "actions"), f"burn factors {streams} are not distinct; give each action its own"


def _windows(experiment: Experiment) -> Iterator[Fault]:
    spec = experiment.spec
    for index, window in enumerate(spec.windows):
        if found := fault(window.days, window.from_, window.to, window.timezone):
            yield ("spec", "windows", index), found
    for index, freeze in enumerate(spec.freezes):
        if found := freeze_fault(freeze.from_, freeze.to, freeze.timezone):
            yield ("spec", "freezes", index), found
    if spec.safe_share is not None and spec.safe_share >= spec.ramp.shares[-1]:
        yield (
            ("spec", "safeShare"),
            f"{spec.safe_share:g} is no less than the last stage, so nothing would be lowered when the windows close; "
            "give a smaller share, or drop it",
        )


def not_enforced_yet(experiment: Experiment, policy: Policy | None = None) -> list[str]:
    """What the spec asks for and this version records, but does not act on: said at registration and in status.

    policy  the one in force; None: there is none, or who asks cannot know it
    """
    spec = experiment.spec
    asked = {
        "objective.risk (lambdaRisk is 0, so its events weigh nothing)": (
            spec.objective is not None and bool(spec.objective.risk) and not spec.objective.lambda_risk
        ),
        "ramp.autoAdvance (unless the policy has windows for this class; the spec has none)": (
            spec.ramp.auto_advance and not hours.are_declared(policy, experiment)
        ),
        "safeShare (unless the policy has windows for this class; the spec has none)": (
            spec.safe_share is not None and not hours.may_close(policy, experiment)
        ),
        "approvals (without a policy in force)": policy is None and spec.approvals.required > 0,
        "userImpact (the approver's statement, without a policy in force; consent itself is held to)": (
            policy is None and experiment.needs_consent
        ),
        "health.declared (no variant declares model, prompt, promptHash or routing)": (
            spec.health.declared is not None and not any(variant.serving for variant in spec.variants)
        ),
        "privacy.maskText: false (texts are always masked before they are stored)": not spec.privacy.mask_text,
    }
    return [name for name, wanted in asked.items() if wanted]
