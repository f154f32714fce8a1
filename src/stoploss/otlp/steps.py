"""The steps of a trace, in order: calls of models and tools, agents handed to, guardrails, approvals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stoploss.otlp.kinds import AGENT, APPROVAL, GUARDRAIL, MODEL, TOOL, Tree, agent_name, tool_name
from stoploss.otlp.records import Step
from stoploss.otlp.spans import Span
from stoploss.otlp.values import text, truth

MOST_STEPS = 1_000
HANDOFF = "handoff"
OWN = frozenset({"scope", "side_effect", "approval_id", "step_outcome"})
"""Fields that no convention has: services set them by stoploss's names."""


def steps_of(tree: Tree, model_calls: Sequence[Span]) -> list[Step]:
    """By start."""
    steps = [(span, MODEL, model_name(span) or "unknown") for span in model_calls]
    if len(steps) < len(tree.spans):
        steps += [(span, TOOL, tool_name(span)) for span in tree.tool_calls()]
        steps += [(span, HANDOFF, agent_name(span)) for span in tree.of_kind(AGENT) if tree.is_handed_to(span)]
        steps += [(span, kind, tool_name(span)) for kind in (GUARDRAIL, APPROVAL) for span in tree.of_kind(kind)]
        steps.sort(key=lambda step: (step[0].start_ns, step[0].span_id))
    return [_step(tree, *step) for step in steps[:MOST_STEPS]]


def model_name(span: Span) -> str | None:
    return text(span.values, "response_model") or text(span.values, "request_model")


def _step(tree: Tree, span: Span, kind: str, name: str) -> Step:
    values = span.values
    server = _mcp_server(tree, span) if kind == TOOL else None
    outcome = "error" if span.failed else "ok"
    if OWN.isdisjoint(values):
        return Step(kind, name, tree.agent_of(span), server, outcome=outcome)
    return Step(
        kind,
        name,
        tree.agent_of(span),
        server,
        text(values, "scope"),
        truth(values, "side_effect") or False,
        text(values, "approval_id"),
        text(values, "step_outcome") or outcome,
    )


def _mcp_server(tree: Tree, span: Span) -> str | None:
    """Named by the span, or by the MCP client's span right below it."""
    below = (other for other in tree.of_kind(TOOL) if tree.parent(other) is span and tree.is_same_call(other, span))
    return next((server for call in (span, *below) for server in _servers(call)), None)


def _servers(span: Span) -> Iterator[str]:
    if server := text(span.values, "mcp_server"):
        yield server
    if "mcp_method" in span.values and (address := text(span.values, "server")):
        yield address
