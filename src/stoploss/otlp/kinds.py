"""What a span stands for: the call of a model, of a tool, an agent, a guardrail, or nothing of the kind."""

from __future__ import annotations

from collections.abc import Sequence

from stoploss.otlp import aliases
from stoploss.otlp.spans import Span
from stoploss.otlp.values import Values, text

MODEL, TOOL, AGENT, GUARDRAIL, EMBEDDING, APPROVAL = "model", "tool", "agent", "guardrail", "embedding", "approval"

_BY_OPERATION = (
    dict.fromkeys(aliases.MODEL_OPERATIONS, MODEL)
    | dict.fromkeys(aliases.TOOL_OPERATIONS, TOOL)
    | dict.fromkeys(aliases.AGENT_OPERATIONS, AGENT)
    | dict.fromkeys(aliases.EMBEDDING_OPERATIONS, EMBEDDING)
)
_BY_OPENINFERENCE = {"LLM": MODEL, "TOOL": TOOL, "AGENT": AGENT, "GUARDRAIL": GUARDRAIL, "EMBEDDING": EMBEDDING}
_BY_TRACELOOP = {"tool": TOOL, "agent": AGENT}
_BY_REQUEST = {"chat": MODEL, "completion": MODEL, "embedding": EMBEDDING}
_OWN = frozenset({MODEL, TOOL, GUARDRAIL, APPROVAL})

SIGNS = frozenset(
    {"operation", "request_type", "openinference_kind", "traceloop_kind", "provider", "mcp_method", "step_kind"}
)
"""A span with none of these fields has nothing to do with a model."""


def kind_of(values: Values) -> str | None:
    """The kind of a span; None: of no kind that counts."""
    if "step_kind" in values and (own := text(values, "step_kind")) in _OWN:
        return own
    if "operation" in values:
        return _BY_OPERATION.get(text(values, "operation") or "")
    if "openinference_kind" in values:
        return _BY_OPENINFERENCE.get((text(values, "openinference_kind") or "").upper())
    if "request_type" in values:
        return _BY_REQUEST.get(text(values, "request_type") or "")
    if "traceloop_kind" in values:
        return _BY_TRACELOOP.get(text(values, "traceloop_kind") or "")
    return TOOL if text(values, "mcp_method") in aliases.MCP_CALLS else None


class Tree:
    """Spans of one trace, by start, with their kinds and parents.

    Some calls are told twice: a framework's span around that of the client library, an agent's tool around the call of
    an MCP server. The inner model call is the one that counts, and the outer tool.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = sorted(spans, key=_by_start) if len(spans) > 1 else spans
        self._by_id = {span.span_id: span for span in self.spans}
        self._kinds: dict[bytes, str] = {}
        self._of: dict[str, list[Span]] = {}
        for span in self.spans:
            if not SIGNS.isdisjoint(span.values) and (kind := kind_of(span.values)) is not None:
                self._kinds[span.span_id] = kind
                self._of.setdefault(kind, []).append(span)

    def kind(self, span: Span) -> str | None:
        return self._kinds.get(span.span_id)

    def of_kind(self, kind: str) -> Sequence[Span]:
        return self._of.get(kind, ())

    def parent(self, span: Span) -> Span | None:
        parent = self._by_id.get(span.parent_id) if span.parent_id else None
        return None if parent is span else parent

    def model_calls(self) -> Sequence[Span]:
        """Calls of models that are around no other call of a model."""
        calls = self.of_kind(MODEL)
        if len(calls) < 2:
            return calls
        around = {outer.span_id for call in calls if (outer := self._nearest(call, MODEL, (TOOL, AGENT))) is not None}
        return [call for call in calls if call.span_id not in around]

    def tool_calls(self) -> Sequence[Span]:
        """Calls of tools; one right below another of the same name is the same call."""
        return [span for span in self.of_kind(TOOL) if not self.is_same_call(span, self.parent(span))]

    def is_same_call(self, span: Span, parent: Span | None) -> bool:
        return parent is not None and self.kind(parent) == TOOL and tool_name(parent) == tool_name(span)

    def agent_of(self, span: Span) -> str | None:
        """The agent that took a step."""
        own = text(span.values, "agent")
        if own is not None or AGENT not in self._of:
            return own
        outer = self._nearest(span, AGENT, ())
        return None if outer is None else agent_name(outer)

    def is_handed_to(self, span: Span) -> bool:
        """Whether an agent was called by another agent."""
        return len(self.of_kind(AGENT)) > 1 and self._nearest(span, AGENT, ()) is not None

    def entry_above(self, span: Span) -> Span | None:
        """The nearest span above, or this one, in which a request enters a process."""
        above: Span | None = span
        for _ in range(len(self.spans)):
            if above is None or above.enters:
                return above
            above = self.parent(above)
        return None

    def _nearest(self, span: Span, kind: str, barriers: Sequence[str]) -> Span | None:
        """The nearest span above of a kind, unless a barrier stands between. Parents may form a circle."""
        above = self.parent(span)
        for _ in range(len(self.spans)):
            if above is None or self.kind(above) in barriers:
                return None
            if self.kind(above) == kind:
                return above
            above = self.parent(above)
        return None


def _by_start(span: Span) -> tuple[int, bytes]:
    return span.start_ns, span.span_id


def tool_name(span: Span) -> str:
    return text(span.values, "tool") or text(span.values, "entity") or span.name.decode(errors="replace")


def agent_name(span: Span) -> str:
    return text(span.values, "agent") or text(span.values, "entity") or span.name.decode(errors="replace")
