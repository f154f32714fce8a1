"""Gates: one event stops. What a service flags, what its steps and texts show; flags can only add.

Each function finds the rows that trip one gate, with what was seen as a sentence that is fit to be shown: names from
traffic pass the alphabet of segments.py, personal data is named by its class and never quoted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from stoploss.intake import agent_gates
from stoploss.intake.batch import holds
from stoploss.intake.pii import labels
from stoploss.intake.pii_classes import CLASSES
from stoploss.intake.subject import Seen, Subject, first_of_each
from stoploss.intake.watched import Arm

LONGEST_DETAIL = 240


def tripped(subject: Subject) -> tuple[npt.NDArray[np.uint32], Seen]:
    """Gate bits of every row of the batch, and for the rows that have any, what was seen."""
    bits = np.zeros(subject.batch.rows, np.uint32)
    sentences: dict[int, list[str]] = {}
    for place, gate in enumerate(subject.watched.gates):
        for row, sentence in _GATES[gate](subject).items():
            bits[row] |= np.uint32(1 << place)
            sentences.setdefault(row, []).append(sentence)
    return bits, {row: "; ".join(found)[:LONGEST_DETAIL] for row, found in sentences.items()}


def pii_exposed(subject: Subject) -> Seen:
    """A validated hit in the output, of a class that the variant does not declare."""
    seen, rows = subject.flagged("pii_exposed"), subject.batch.personal
    if not rows.size:
        return seen
    for code, arm in subject.arms:
        exposed = subject.batch.output.exposed(arm.pii)[rows] * (subject.variant[rows] == code)
        for row, bits in zip(rows[exposed != 0].tolist(), exposed[exposed != 0].tolist(), strict=True):
            masks = " ".join(f"[{cls.name}]" for place, cls in enumerate(CLASSES) if bits >> place & 1)
            seen[row] = f"output_text holds {labels(bits)} (validated), masked: {masks}"
    return seen


def privilege_escalation(subject: Subject) -> Seen:
    """A step used a scope that none of the variant's tools declares."""
    return _undeclared(subject, "scope", lambda arm: arm.scopes) | subject.flagged("privilege_escalation")


def undeclared_tool(subject: Subject) -> Seen:
    return _undeclared(subject, "name", lambda arm: arm.tools, kind="tool")


def undeclared_mcp_server(subject: Subject) -> Seen:
    return _undeclared(subject, "mcp_server", lambda arm: arm.mcp_servers)


_CALLED = {"scope": "scope", "name": "tool", "mcp_server": "MCP server"}


def _undeclared(
    subject: Subject, field: str, declared: Callable[[Arm], frozenset[str]], kind: str | None = None
) -> Seen:
    """Rows with a step whose field is not declared for their variant; an undeclared variant has nothing to exceed."""
    steps, seen = subject.batch.items("steps"), Seen()
    if not len(steps):
        return seen
    values, variant = steps.fields[field], subject.variant[steps.rows]
    concerned = holds(values != "") if kind is None else holds(steps.fields["kind"] == kind)
    for code, arm in enumerate(subject.watched.arms):
        outside = concerned & ~holds(values.is_in(list(declared(arm)))) & (variant == code)
        for row, value in first_of_each(steps.rows, values, outside):
            seen[row] = f"{_CALLED[field]} {value!r} is not declared for variant {arm.name!r}"
    return seen


def unapproved_side_effect(subject: Subject) -> Seen:
    """A tool changed something outside without an approval."""
    steps = subject.batch.items("steps")
    if not len(steps):
        return subject.flagged("unapproved_side_effect")
    approved = holds(steps.fields["approval_id"] != "")
    tool = holds(steps.fields["kind"] == "tool")
    outside = tool & holds(steps.fields["side_effect"]) & ~approved & subject.assigned[steps.rows]
    found = first_of_each(steps.rows, steps.fields["name"], outside)
    seen = {row: f"tool {name!r} had a side effect without an approval" for row, name in found}
    return subject.flagged("unapproved_side_effect") | seen


def shadow_side_effect(subject: Subject) -> Seen:
    """A shadow run, which nobody sees, changed something outside."""
    steps = subject.batch.items("steps")
    if not len(steps):
        return {}
    outside = holds(steps.fields["side_effect"]) & (subject.batch.shadow & subject.assigned)[steps.rows]
    found = first_of_each(steps.rows, steps.fields["name"], outside)
    return {row: f"step {name!r} of a shadow run had a side effect" for row, name in found}


_GATES: dict[str, Callable[[Subject], Seen]] = {
    "pii_exposed": pii_exposed,
    "privilege_escalation": privilege_escalation,
    "unapproved_side_effect": unapproved_side_effect,
    "undeclared_tool": undeclared_tool,
    "undeclared_mcp_server": undeclared_mcp_server,
    "shadow_side_effect": shadow_side_effect,
    **agent_gates.GATES,
}
