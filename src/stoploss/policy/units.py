"""Units of change: in which of prompt, model and workflow two variants differ, and what each needs to be watched by."""

from __future__ import annotations

from collections.abc import Iterator

from stoploss.experiment import Experiment
from stoploss.metrics import METRICS
from stoploss.spec.variants import Variant

Fault = tuple[tuple[str | int, ...], str]
COST = "cost_usd"


def _parts(variant: Variant) -> dict[str, object]:
    """What a variant is made of, by unit of change."""
    workflow = (variant.routing, variant.tools, variant.mcp_servers, variant.versions, sorted(variant.data_classes))
    return {"prompt": (variant.prompt, variant.prompt_hash), "model": variant.model, "workflow": workflow}


def units_changed(experiment: Experiment) -> tuple[str, ...]:
    """The units in which the treatment differs from control; a part that one of them does not declare counts, too."""
    control, treatment = _parts(experiment.control), _parts(experiment.treatment)
    return tuple(unit for unit in control if control[unit] != treatment[unit])


def factor_faults(experiment: Experiment) -> Iterator[Fault]:
    """Asked of every spec, policy or none: what changes two units at once says so."""
    changed, allowed = units_changed(experiment), experiment.spec.factors or (experiment.spec.unit,)
    if any(unit not in allowed for unit in changed):
        yield (
            ("spec", "variants"),
            f"the variants differ in {' and '.join(changed)}, the spec names {' and '.join(allowed)}, so an effect "
            f"could not be put down to one: change one unit, or declare factors: [{', '.join(changed)}]",
        )


def new_capabilities(experiment: Experiment) -> tuple[str, ...]:
    """Tools, scopes, side effects and servers that the treatment has and control lacks: they need security's word."""
    control, treatment = experiment.control, experiment.treatment
    pairs = (
        ("tool", {tool.name for tool in treatment.tools} - {tool.name for tool in control.tools}),
        ("scope", treatment.scopes - control.scopes),
        ("side effect of", treatment.side_effects - control.side_effects),
        ("MCP server", set(treatment.mcp_servers) - set(control.mcp_servers)),
    )
    return tuple(f"{kind} {name}" for kind, names in pairs for name in sorted(names))


def guardrail_faults(experiment: Experiment) -> Iterator[Fault]:
    """A prompt needs a guardrail on quality, a model one on quality and cost, a workflow gates and a declared path."""
    spec = experiment.spec
    at = ("spec", "guardrails")
    watched = {guardrail.metric for guardrail in spec.guardrails}
    if spec.unit in ("prompt", "model") and watched <= set(METRICS):
        yield at, f"a change of the {spec.unit} needs a guardrail on quality: a score, such as {spec.success.metric!r}"
    spent = {budget.metric for budget in spec.budgets}
    if spec.unit == "model" and COST not in watched | spent:
        yield at, f"a change of the model needs a guardrail or a budget on {COST}"
    if spec.unit == "workflow" and not spec.gates:
        yield ("spec",), "a change of the workflow needs gates beside those that are always on, such as undeclared_tool"
    if spec.unit == "workflow" and not (spec.path.order or spec.path.approvals or spec.path.handoffs is not None):
        yield ("spec",), "a change of the workflow needs its path: order, approvals or handoffs"
