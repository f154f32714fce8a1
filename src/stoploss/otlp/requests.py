"""The spans of one trace as one `Trace` of the contract: one request, however many spans told of it.

A record has the fields that are known; what it lacks takes the schema's default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stoploss.otlp.aliases import EXCEPTIONS, FIRST_CHUNKS, FLAG_EVALUATIONS
from stoploss.otlp.kinds import AGENT, EMBEDDING, MODEL, Tree
from stoploss.otlp.prices import PriceTable
from stoploss.otlp.records import Assignment, Attribute
from stoploss.otlp.spans import Span
from stoploss.otlp.steps import model_name, steps_of
from stoploss.otlp.texts import input_text, output_text
from stoploss.otlp.values import Held, Values, count, last_text, number, text, truth

Record = dict[str, Any]

CONTEXT = frozenset({"unit_id", "conversation_id", "tenant", "language", "channel"})
"""With the assignments and attributes, what an outcome of the trace must carry."""

TEXTS = CONTEXT | {"prompt_name", "prompt_version", "prompt_hash", "routing"}
FLAGS = frozenset({"pii_exposed", "privilege_escalation", "unapproved_side_effect", "guardrail_bypassed"})
WHOLE = ("input_tokens", "output_tokens")
PARTS = ("cached_tokens", "reasoning_tokens")
"""Parts of the whole: who does not name them has none."""

OPERATIONS = {AGENT: "invoke_agent", MODEL: "chat"}
"""gen_ai.operation.name, where a dialect has names of its own."""

PASSED = "attribute:"
"""Before the key of an attribute that is passed on for segments."""


@dataclass(frozen=True, slots=True)
class Request:
    """record: a `Trace`; unpriced: models of its calls that the table of prices lacks."""

    record: Record
    unpriced: Sequence[str] = field(default_factory=tuple)


def request_of(
    spans: Sequence[Span], logged: Sequence[Values], assignments: Sequence[Assignment], prices: PriceTable
) -> Request:
    """spans: at least one, all of one trace; logged: attributes of its flag evaluations in the log."""
    tree = Tree(spans)
    calls = tree.model_calls()
    entry = entry_of(tree, calls)
    end_ns = max(entry.end_ns, entry.start_ns)
    record: Record = {
        "trace_id": entry.trace_id.hex(),
        "at": end_ns // 1_000,
        "latency_ms": (end_ns - entry.start_ns) / 1e6,
        "service": text(entry.resource, "service"),
        "error_type": _error(entry, calls),
        "assignments": assignments,
        "steps": steps_of(tree, calls),
        "operation": _operation(tree, calls),
    }
    _add_said(record, _merged(entry, tree.spans, logged))
    if told := calls or tree.of_kind(AGENT)[:1]:
        _add_calls(record, entry, told)
    record["cost_usd"], unpriced = _cost(calls, tree.of_kind(EMBEDDING), prices)
    return Request(record, unpriced)


def entry_of(tree: Tree, calls: Sequence[Span]) -> Span:
    """The span in which the request entered the process that calls the model; without a call, the trace's first entry.

    What lies above it, in other processes, may come or not, and a latency must not depend on that.
    """
    if calls and (entry := tree.entry_above(calls[0])) is not None:
        return entry
    return next((span for span in tree.spans if span.enters), tree.spans[0])


def _merged(entry: Span, spans: Sequence[Span], logged: Sequence[Values]) -> Values:
    """Fields of all spans in one; the entry's count most, then those of earlier spans.

    The unit is the one that the flag saw, wherever that stands: by its name's rank.
    """
    merged: dict[str, Held] = {}
    for span in reversed(spans):
        merged.update(span.values)
    merged.update(entry.values)
    evaluated = [event.values for span in spans for event in span.events if event.name in FLAG_EVALUATIONS]
    for values in (*evaluated, *logged):
        if (unit := values.get("unit_id")) is not None and unit[1] < merged.setdefault("unit_id", unit)[1]:
            merged["unit_id"] = unit
    return merged


def _add_said(record: Record, values: Values) -> None:
    """Fields that are as the service says them."""
    passed = []
    for name in values:
        if name in TEXTS:
            record[name] = text(values, name)
        elif name in FLAGS:
            record[name] = truth(values, name)
        elif name.startswith(PASSED) and (said := text(values, name)) is not None:
            passed.append(Attribute(name.removeprefix(PASSED), said))
    if passed:
        record["attributes"] = passed
    if text(values, "role") == "shadow":
        record["role"] = "shadow"


def _add_calls(record: Record, entry: Span, calls: Sequence[Span]) -> None:
    """Tokens are summed over the calls; model, provider, end and text are those of the last one, which answered."""
    last = calls[-1]
    record["model"] = model_name(last)
    record["provider"] = (text(last.values, "provider") or "").lower() or None
    record["finish_reason"] = last_text(last.values, "finish_reasons")
    record["time_to_first_token_ms"] = _first_token_ms(entry, last)
    record["input_text"] = input_text(calls[0].values)
    record["output_text"] = output_text(last.values)
    answered = [call.values for call in calls if not _came_to_nothing(call)]
    for name in WHOLE:
        record[name] = _sum(answered, name, whole=True)
    for name in PARTS:
        record[name] = _sum(answered, name, whole=False)


def _sum(calls: Sequence[Values], name: str, *, whole: bool) -> int | None:
    """None where a call does not say: a sum that leaves one out would be taken for a saving."""
    known = [said for values in calls if name in values and (said := count(values, name)) is not None]
    return sum(known) if known and (len(known) == len(calls) or not whole) else None


def _came_to_nothing(call: Span) -> bool:
    """Whether a call failed before anything was read or written."""
    return call.failed and "input_tokens" not in call.values


def _first_token_ms(entry: Span, call: Span) -> float | None:
    """From the request's arrival to the first chunk of the last call."""
    first_chunk_s = number(call.values, "first_chunk_s")
    if first_chunk_s is not None and first_chunk_s >= 0:
        return max(0.0, (call.start_ns - entry.start_ns) / 1e6 + first_chunk_s * 1e3)
    if not call.events:
        return None
    chunks = [event.at_ns for event in call.events if event.name in FIRST_CHUNKS]
    return max(0.0, (min(chunks) - entry.start_ns) / 1e6) if chunks else None


def _cost(calls: Sequence[Span], embeddings: Sequence[Span], prices: PriceTable) -> tuple[float | None, Sequence[str]]:
    """Of all calls together; None where the cost of one is not known, or nothing was called.

    Beside it the models that the table of prices lacks.
    """
    cost_usd, unpriced, known = 0.0, [], True
    paid = [call for call in (*calls, *embeddings) if not _came_to_nothing(call)]
    for call in paid:
        cost = _cost_of(call, prices)
        if cost is not None:
            cost_usd += cost
            continue
        known = False
        if "input_tokens" in call.values:
            unpriced.append(model_name(call) or "unknown")
    return (cost_usd if paid and known else None), unpriced


def _cost_of(call: Span, prices: PriceTable) -> float | None:
    """By the table; else what the service itself says, if it says anything."""
    values = call.values
    read = count(values, "input_tokens")
    if read is not None:
        written, cached = count(values, "output_tokens") or 0, count(values, "cached_tokens") or 0
        for field_ in ("response_model", "request_model"):
            if (model := text(values, field_)) and (price := prices.price(model, call.start_ns)) is not None:
                return price.cost_usd(read, written, cached)
    said = number(values, "cost_usd")
    return said if said is not None and said > 0 else None


def _error(entry: Span, calls: Sequence[Span]) -> str | None:
    """The request's error is that of its entry, or of its last call, on whose answer it depended."""
    failed = next((span for span in (entry, *calls[-1:]) if span.failed), None)
    if failed is None:
        return None
    raised = [text(event.values, "exception") for event in failed.events if event.name in EXCEPTIONS]
    return text(failed.values, "error_type") or next(filter(None, raised), None) or "_OTHER"


def _operation(tree: Tree, calls: Sequence[Span]) -> str | None:
    """Of the outermost agent, else of the last call of a model."""
    for span in (*tree.of_kind(AGENT)[:1], *calls[-1:]):
        return text(span.values, "operation") or OPERATIONS.get(tree.kind(span) or "")
    return None
