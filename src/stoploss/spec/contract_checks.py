"""What the contract in a spec must satisfy: path, the gates it switches on, and what traces are served by.

Each fault names the field, the value and the way out.
"""

from __future__ import annotations

from collections.abc import Iterator

from stoploss.experiment import SERVED_INSTEAD, SWITCHED_ON_GATES, Experiment
from stoploss.metrics import METRICS, UNDECLARED_SERVING

Path = tuple[str | int, ...]
Fault = tuple[Path, str]


def contract_faults(experiment: Experiment) -> Iterator[Fault]:
    yield from _path_tools(experiment)
    yield from _handoffs(experiment)
    yield from _gates_without_their_part(experiment)
    yield from _guardrails(experiment)
    if SERVED_INSTEAD in experiment.spec.segments:
        at = experiment.spec.segments.index(SERVED_INSTEAD)
        yield ("spec", "segments", at), f"{SERVED_INSTEAD!r} is kept for health.declared; choose another attribute"


def _path_tools(experiment: Experiment) -> Iterator[Fault]:
    tools = sorted({tool.name for variant in experiment.spec.variants for tool in variant.tools})
    path = experiment.spec.path
    for field, listed in (("order", path.order), ("approvals", path.approvals)):
        for index, tool in enumerate(listed):
            at: Path = ("spec", "path", field, index)
            if tool not in tools:
                yield at, f"no variant declares a tool {tool!r}; declared are {', '.join(tools) or 'none'}"
            if tool in listed[:index]:
                yield at, f"{tool!r} is listed twice; keep one"


def _handoffs(experiment: Experiment) -> Iterator[Fault]:
    for index, pair in enumerate(experiment.spec.path.handoffs or ()):
        if not all(name.strip() for name in pair):
            yield ("spec", "path", "handoffs", index), f"{list(pair)} names no two agents; write [from, to]"


def _gates_without_their_part(experiment: Experiment) -> Iterator[Fault]:
    for index, choice in enumerate(experiment.spec.gates):
        part = SWITCHED_ON_GATES.get(choice.gate)
        if part and choice.gate not in experiment.switched_on_gates:
            yield (
                ("spec", "gates", index),
                f"{choice.gate!r} watches spec.{part}, which is not declared, so it could never trip; "
                "declare it, or drop the gate",
            )


def _guardrails(experiment: Experiment) -> Iterator[Fault]:
    for index, guardrail in enumerate(experiment.spec.guardrails):
        metric = METRICS.get(guardrail.metric)
        if metric is not None and metric.zeros and guardrail.transform == "log":
            yield (
                ("spec", "guardrails", index, "transform"),
                f"{metric.name!r} is 0 in most traces and they have no logarithm, so the guardrail would not see them; "
                "drop the transform",
            )
        if guardrail.metric == UNDECLARED_SERVING and experiment.serving is not None:
            yield (
                ("spec", "guardrails", index, "metric"),
                f"traces with {guardrail.metric!r} are not compared, so this guardrail could never fire; "
                "drop it: health.declared watches that rate",
            )
