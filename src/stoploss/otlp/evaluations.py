"""Evaluation events (`gen_ai.evaluation.result`) to `Outcome` records, with the context of the trace they judge."""

from __future__ import annotations

from dataclasses import dataclass

from stoploss.otlp.assigning import Flags
from stoploss.otlp.requests import CONTEXT, Record
from stoploss.otlp.values import Values, number, text

LABELS = {
    **dict.fromkeys(("pass", "passed", "true", "yes", "correct", "relevant"), 1.0),
    **dict.fromkeys(("fail", "failed", "false", "no", "incorrect", "not_relevant"), 0.0),
}
"""Labels that stand for themselves; of others nobody can say which way is up."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation of a trace; at_ns: when it was recorded."""

    trace_id: bytes
    at_ns: int
    values: Values


def outcome_of(evaluation: Evaluation, context: Record) -> Record | None:
    """A whole `Outcome`; None where the event has no name, or neither a score nor a label of LABELS.

    context  assignments, attributes and the fields of requests.CONTEXT
    """
    values = evaluation.values
    name, value = text(values, "evaluation"), number(values, "score")
    if value is None:
        value = LABELS.get((text(values, "score_label") or "").lower())
    if name is None or value is None:
        return None
    return {
        "trace_id": evaluation.trace_id.hex(),
        "at": evaluation.at_ns // 1_000,
        "kind": "score",
        "name": name,
        "value": value,
        "source": text(values, "score_source") or "system",
        **context,
    }


def context_of(record: Record) -> Record:
    """What outcomes of a trace carry."""
    return {name: record[name] for name in (*CONTEXT, "assignments", "attributes") if name in record}


def own_context(evaluation: Evaluation, flags: Flags) -> Record | None:
    """An evaluation may come hours after its trace, and then name the assignment itself; None where it does not."""
    assignments = flags.named(evaluation.values)
    if not assignments:
        return None
    return {"assignments": assignments, **{name: text(evaluation.values, name) for name in CONTEXT}}
