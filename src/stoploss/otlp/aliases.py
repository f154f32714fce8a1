"""One table of attribute names: what each field is called in the dialects of OpenTelemetry that people send.

The names are written out here. The constants of the Python packages are deprecated, moved and renamed from release to
release, and what matters is what stands on the wire. Dialects: OpenTelemetry's GenAI conventions (their repository of
2026, and v1.36.0 with the names before it), Traceloop's OpenLLMetry (0.62, and the names of 0.40), Arize's
OpenInference (0.1.42). Of several names on one span the first in its row counts.
"""

from __future__ import annotations

STOPLOSS = "stoploss."
"""Names of our own, for what no convention has: `stoploss.tenant`, `stoploss.step.scope`, …"""

ALIASES: dict[str, tuple[str, ...]] = {
    # what kind of span it is
    "operation": ("gen_ai.operation.name",),
    "request_type": ("llm.request.type",),
    "openinference_kind": ("openinference.span.kind",),
    "traceloop_kind": ("traceloop.span.kind",),
    "mcp_method": ("mcp.method.name",),
    # the call of a model
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
    "response_model": ("gen_ai.response.model", "llm.response.model_name"),
    "request_model": (
        "gen_ai.request.model",
        "llm.request.model_name",
        "llm.request.model",
        "llm.model_name",
        "embedding.model_name",
        "reranker.model_name",
    ),
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.usage.prompt_tokens",
        "llm.token_count.prompt",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.usage.completion_tokens",
        "llm.token_count.completion",
    ),
    "cached_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "llm.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
    ),
    "cost_usd": ("llm.cost.total", "gen_ai.usage.cost"),
    "finish_reasons": (
        "gen_ai.response.finish_reasons",
        "gen_ai.response.finish_reason",
        "gen_ai.response.stop_reason",
        "llm.response.finish_reason",
        "llm.response.stop_reason",
        "llm.finish_reason",
        "gen_ai.completion.0.finish_reason",
    ),
    "first_chunk_s": ("gen_ai.response.time_to_first_chunk",),
    "input_messages": ("gen_ai.input.messages",),
    "output_messages": ("gen_ai.output.messages",),
    "input_value": ("input.value", "traceloop.entity.input"),
    "output_value": ("output.value", "traceloop.entity.output"),
    # agents and tools
    "agent": ("gen_ai.agent.name", "agent.name"),
    "tool": ("gen_ai.tool.name", "tool.name"),
    "entity": ("traceloop.entity.name",),
    "mcp_server": ("stoploss.step.mcp_server", "mcp.server.name"),
    "server": ("server.address",),
    "scope": ("stoploss.step.scope",),
    "side_effect": ("stoploss.step.side_effect",),
    "approval_id": ("stoploss.step.approval_id",),
    "step_kind": ("stoploss.step.kind",),
    "step_outcome": ("stoploss.step.outcome",),
    # the request
    "service": ("service.name",),
    "error_type": ("error.type",),
    "exception": ("exception.type",),
    "conversation_id": (
        "gen_ai.conversation.id",
        "session.id",
        "traceloop.association.properties.session_id",
        "traceloop.association.properties.conversation_id",
    ),
    "unit_id": (
        "stoploss.unit_id",
        "feature_flag.context.id",
        "enduser.pseudo.id",
        "enduser.id",
        "user.id",
        "traceloop.association.properties.user_id",
    ),
    "role": ("stoploss.role",),
    "tenant": ("stoploss.tenant", "traceloop.association.properties.tenant"),
    "language": ("stoploss.language",),
    "channel": ("stoploss.channel",),
    "routing": ("stoploss.routing",),
    "prompt_name": ("stoploss.prompt_name", "traceloop.prompt.key", "gen_ai.prompt.name", "prompt.id"),
    "prompt_version": ("stoploss.prompt_version", "traceloop.prompt.version", "llm.prompt_template.version"),
    "prompt_hash": ("stoploss.prompt_hash", "traceloop.prompt.version_hash"),
    "pii_exposed": ("stoploss.pii_exposed",),
    "privilege_escalation": ("stoploss.privilege_escalation",),
    "unapproved_side_effect": ("stoploss.unapproved_side_effect",),
    "guardrail_bypassed": ("stoploss.guardrail_bypassed",),
    # assignments
    "flag": ("feature_flag.key",),
    "flag_variant": ("feature_flag.result.variant", "feature_flag.variant"),
    "flag_value": ("feature_flag.result.value", "feature_flag.evaluated_value"),
    "flag_version": ("feature_flag.version",),
    "experiment": ("stoploss.experiment",),
    "variant": ("stoploss.variant",),
    "run": ("stoploss.run",),
    "epoch": ("stoploss.epoch",),
    "consent": ("stoploss.consent",),
    # evaluations
    "event_name": ("event.name",),
    "evaluation": ("gen_ai.evaluation.name",),
    "score": ("gen_ai.evaluation.score.value",),
    "score_label": ("gen_ai.evaluation.score.label",),
    "score_source": ("stoploss.source",),
}

PREFIXED: tuple[tuple[str, str, str], ...] = (
    ("output_text", "gen_ai.completion.", ".content"),
    ("output_text", "llm.output_messages.", ".message.content"),
    ("input_text", "gen_ai.prompt.", ".content"),
    ("input_text", "llm.input_messages.", ".message.content"),
)
"""field, beginning, end: one attribute for each message; the last one is what counts."""

EVALUATIONS = ("gen_ai.evaluation.result",)
FLAG_EVALUATIONS = ("feature_flag.evaluation", "feature_flag")
FIRST_CHUNKS = ("First Token Stream Event", "llm.content.completion.chunk", "gen_ai.content.completion.chunk")
EXCEPTIONS = ("exception",)
EVENTS = frozenset({*EVALUATIONS, *FLAG_EVALUATIONS, *FIRST_CHUNKS, *EXCEPTIONS})
"""Names of the events that are read; all others are left where they are."""

MODEL_OPERATIONS = frozenset({"chat", "text_completion", "generate_content", "completion"})
TOOL_OPERATIONS = frozenset({"execute_tool"})
AGENT_OPERATIONS = frozenset({"invoke_agent"})
EMBEDDING_OPERATIONS = frozenset({"embeddings"})
MCP_CALLS = frozenset({"tools/call"})
