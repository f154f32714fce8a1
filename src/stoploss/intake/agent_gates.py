"""Gates of the contract with an agent: the path it may take, what it may change, how long it may run, and whom it may
serve. Which of them are on is said in experiment.SWITCHED_ON_GATES and DECLARABLE_GATES.

A call that was denied did nothing, so it breaks nothing here; it counts in denied_tool_rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from stoploss.evidence import TREATMENT
from stoploss.intake import segments
from stoploss.intake.batch import holds
from stoploss.intake.quantise import Mask
from stoploss.intake.subject import Seen, Subject, first_of_each
from stoploss.metrics import METRICS

AGREED, OPTED_OUT = 1, 0


def guardrail_bypassed(subject: Subject) -> Seen:
    """The service says so, or a guardrail's own step does."""
    steps = subject.batch.steps
    if not len(steps):
        return subject.flagged("guardrail_bypassed")
    bypassed = steps.is_kind("guardrail") & steps.had("bypassed") & subject.assigned[steps.rows]
    found = first_of_each(steps.rows, steps.fields["name"], bypassed)
    return subject.flagged("guardrail_bypassed") | {row: f"guardrail {name!r} was bypassed" for row, name in found}


def undeclared_side_effect(subject: Subject) -> Seen:
    """A tool changed something outside that its variant does not declare with a side effect."""
    steps, seen = subject.batch.steps, Seen()
    if not len(steps):
        return seen
    changed = _tool_calls(subject) & holds(steps.fields["side_effect"])
    for code, arm in enumerate(subject.watched.arms):
        declared = holds(steps.fields["name"].is_in(list(arm.side_effects)))
        outside = changed & ~declared & (subject.variant[steps.rows] == code)
        for row, name in first_of_each(steps.rows, steps.fields["name"], outside):
            seen[row] = f"tool {name!r} had a side effect that variant {arm.name!r} does not declare"
    return seen


def _tool_calls(subject: Subject) -> Mask:
    """Steps of assigned rows in which a tool was called and not denied."""
    steps = subject.batch.steps
    return steps.is_kind("tool") & ~steps.had("denied") & subject.assigned[steps.rows]


def undeclared_handoff(subject: Subject) -> Seen:
    """An agent handed over to another, and the pair is not allowed; where the one is not named, the other decides."""
    steps, seen = subject.batch.steps, Seen()
    allowed = set(subject.watched.experiment.spec.path.handoffs or ())
    targets = {target for _, target in allowed}
    handed = steps.is_kind("handoff") & subject.assigned[steps.rows]
    for place in np.flatnonzero(handed).tolist():
        source, target = steps.fields["agent"][place] or "", steps.fields["name"][place]
        known = (source, target) in allowed if source else target in targets
        if not known:
            names = segments.clean(source) or "an agent", segments.clean(target)
            seen.setdefault(int(steps.rows[place]), f"a handoff from {names[0]!r} to {names[1]!r} is not declared")
    return seen


def missing_approval(subject: Subject) -> Seen:
    """A tool that wants an approval was called without its own and without a granted approval step before it."""
    steps, seen = subject.batch.steps, Seen()
    wanted = list(subject.watched.experiment.spec.path.approvals)
    if not len(steps):
        return seen
    named = steps.fields["name"]
    bare = _tool_calls(subject) & holds(named.is_in(wanted)) & ~holds(steps.fields["approval_id"] != "")
    granting = steps.is_kind("approval") & ~steps.had("denied", "error")
    granted: dict[tuple[int, str], int] = {}
    for place in np.flatnonzero(granting).tolist() if bare.any() else ():
        granted.setdefault((int(steps.rows[place]), named[place]), place)
    for place in np.flatnonzero(bare).tolist():
        row, name = int(steps.rows[place]), named[place]
        if granted.get((row, name), place) >= place:
            seen.setdefault(row, f"tool {segments.clean(name)!r} was called without an approval")
    return seen


def broken_order(subject: Subject) -> Seen:
    """The first call of a tool came before the first call of one that is listed earlier."""
    steps, seen = subject.batch.steps, Seen()
    if not len(steps):
        return seen
    order = subject.watched.experiment.spec.path.order
    named = steps.fields["name"]
    calls = np.flatnonzero(_tool_calls(subject) & holds(named.is_in(list(order))))
    rank = np.array([order.index(name) for name in named[calls]], np.int64)
    first = np.sort(np.unique(steps.rows[calls] * len(order) + rank, return_index=True)[1])
    row, rank = steps.rows[calls[first]], rank[first]
    for place in np.flatnonzero((row[1:] == row[:-1]) & (rank[1:] < rank[:-1])).tolist():
        early, late = order[rank[place]], order[rank[place + 1]]
        seen.setdefault(int(row[place]), f"tool {early!r} was called before {late!r}")
    return seen


def missing_consent(subject: Subject) -> Seen:
    """A user got the treatment without having agreed to take part, or after opting out."""
    treated = (subject.variant == TREATMENT) & ~subject.batch.shadow & (subject.consent != AGREED)
    opted_out = subject.consent == OPTED_OUT
    said = {True: "the user had opted out", False: "the user had not agreed to take part"}
    return {row: said[bool(opted_out[row])] for row in np.flatnonzero(treated).tolist()}


def runaway(subject: Subject) -> Seen:
    """A request took more than its cap of something."""
    seen: dict[int, list[str]] = {}
    for name, cap in subject.watched.experiment.spec.limits.caps.items():
        values, present = subject.batch.metric(name)
        for row in np.flatnonzero(present & (values > cap) & subject.assigned).tolist():
            found = seen.setdefault(row, [])
            found.append(f"{name} {values[row]:,.0f} of {cap:,} {METRICS[name].unit} allowed")
    return {row: ", ".join(found) for row, found in seen.items()}


GATES: Mapping[str, Callable[[Subject], Seen]] = {
    "guardrail_bypassed": guardrail_bypassed,
    "undeclared_side_effect": undeclared_side_effect,
    "undeclared_handoff": undeclared_handoff,
    "missing_approval": missing_approval,
    "broken_order": broken_order,
    "missing_consent": missing_consent,
    "runaway": runaway,
}
