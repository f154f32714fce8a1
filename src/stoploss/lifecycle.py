"""Which request is allowed in which state, and where it leads. One table; docs/governance.md shows it.

registered ── approve ──▶ approved ── start ──▶ running ◀─────── resume (a new run) ──────────┐
   ▲                                              │  hold ▶ holding (exposure frozen)         │
   │ amend                                        ├── pause ──▶ paused ──────────────────────▶│
   └──────────────────────────────────────────────├── stop ───▶ stopped ─────────────────────▶│
                                                  └── rollback ▶ rolled_back ────────────────▶┘
                              paused, stopped, rolled_back ── complete ──▶ completed ── reviewed ──▶ reviewed
                              running, holding ── complete: rollout ──▶ adopted ── pause, stop, rollback ▶ as a run

Automatic actions only ever lower exposure; only a person raises it or resumes. What is adopted stays served, and stays
watched: whoever can stop a run can stop it, and so can its rules.
"""

from __future__ import annotations

from enum import StrEnum

from stoploss.commands import Action


class Lifecycle(StrEnum):
    REGISTERED = "registered"
    APPROVED = "approved"
    RUNNING = "running"
    HOLDING = "holding"
    PAUSED = "paused"
    STOPPED = "stopped"
    ROLLED_BACK = "rolled_back"
    ADOPTED = "adopted"
    COMPLETED = "completed"
    REVIEWED = "reviewed"


TRIED = frozenset({Lifecycle.RUNNING, Lifecycle.HOLDING})
"""An experiment is under way: limits on how many may be, and what they may cost, count it."""
LIVE = TRIED | {Lifecycle.ADOPTED}
"""The treatment may be served, so it is judged and leased, and whatever lowers exposure acts."""
WAITING = frozenset({Lifecycle.REGISTERED, Lifecycle.APPROVED})
"""Before the start of a spec: nothing that arrives is judged."""
ENDED = frozenset({Lifecycle.COMPLETED, Lifecycle.REVIEWED})
"""Decided by a person, for good: nothing but notes follows."""
LATCHED = frozenset({Lifecycle.STOPPED, Lifecycle.ROLLED_BACK}) | ENDED

_STATES = tuple(Lifecycle)
_ANY = frozenset(Lifecycle)


def _staying(states: frozenset[Lifecycle]) -> dict[Lifecycle, Lifecycle]:
    """The states that a request leaves as they are, in the table's order."""
    return {state: state for state in _STATES if state in states}


def _to(after: Lifecycle, *states: Lifecycle) -> dict[Lifecycle, Lifecycle]:
    return dict.fromkeys(states, after)


_REGISTERED, _APPROVED, _RUNNING, _HOLDING, _PAUSED, _STOPPED, _ROLLED_BACK, _ADOPTED, _COMPLETED, _REVIEWED = _STATES

# What a person may ask for in each state, and the state after it. Where a state is missing, the request is refused.
# `amend` and `approve` go on to approved once all approvals are there that are asked for; governance/admission.py
# says what else a request needs.
TABLE: dict[str, dict[Lifecycle, Lifecycle]] = {
    "register": _staying(_ANY - ENDED),
    "amend": _to(_REGISTERED, _REGISTERED, _APPROVED, _STOPPED, _ROLLED_BACK),
    "approve": _staying(_ANY - ENDED) | _to(_APPROVED, _REGISTERED, _APPROVED),
    "reject": _staying(_ANY - ENDED) | _to(_REGISTERED, _REGISTERED, _APPROVED),
    "rehearse": _staying(WAITING),
    "start": _to(_RUNNING, _REGISTERED, _APPROVED),
    "ramp": _staying(frozenset({_RUNNING})),
    "pause": _to(_PAUSED, _RUNNING, _HOLDING, _ADOPTED),
    "resume": _to(_RUNNING, _HOLDING, _PAUSED, _STOPPED, _ROLLED_BACK),
    "stop": _to(_STOPPED, _RUNNING, _HOLDING, _PAUSED, _ADOPTED),
    "rollback": _to(_ROLLED_BACK, _RUNNING, _HOLDING, _PAUSED, _ADOPTED),
    "complete": _to(_ADOPTED, _RUNNING, _HOLDING) | _to(_COMPLETED, _PAUSED, _STOPPED, _ROLLED_BACK),
    "reviewed": _to(_REVIEWED, _COMPLETED) | _staying(frozenset({_ADOPTED})),
    "note": _staying(_ANY),
}
REQUESTS: dict[str, frozenset[Lifecycle]] = {request: frozenset(moves) for request, moves in TABLE.items()}
_NAMED = REQUESTS | {"register": WAITING | {_STOPPED, _ROLLED_BACK}}
"""What a refusal names as allowed. A registration replaced the spec in these states before it was frozen; older ledgers
are answered so, and in the other states nobody is sent to a request that changes nothing."""
RAISES = frozenset({"start", "resume", "ramp"})
"""Requests after which more people may get the treatment: they need all that the policy asks for."""

# Requests about no single experiment: the organisation's policy, and the stop of the whole line. Every ledger partition
# is told.
POLICY, FREEZE, UNFREEZE = "policy", "freeze", "unfreeze"
OF_ALL = frozenset({POLICY, FREEZE, UNFREEZE})

# A person's signed command past the monitor; no request by the usual way can be one.
BREAK_GLASS = "break_glass"

# What people put on record (followup.py) changes no state: it is allowed in each.
RECORD = "record"

# Where a command leads, and how much of the traffic is left to the treatment variant.
AFTER: dict[Action, Lifecycle] = {
    Action.STOP: Lifecycle.STOPPED,
    Action.ROLLBACK: Lifecycle.ROLLED_BACK,
    Action.PAUSE: Lifecycle.PAUSED,
}

# Later in this order is the stronger answer to harm; a weaker one does not follow a stronger one in a run.
STRENGTH = (_RUNNING, _HOLDING, _ADOPTED, _PAUSED, _ROLLED_BACK, _STOPPED)


def refusal(action: str, state: Lifecycle | None, *, freezes: bool = True) -> str | None:
    """Why a request is refused in a state (None: the experiment is not registered), or None if it is allowed.

    freezes  a registration leaves a spec in force as it is (ledger.Request.freezes)
    """
    if action == BREAK_GLASS and state is not None and state not in WAITING:
        return None
    if action == RECORD and state is not None:
        return None
    if action not in REQUESTS and action != RECORD:
        return f"unknown action {action!r}; known actions: {', '.join(REQUESTS)}"
    if state is None:
        return None if action == "register" else "the experiment is not registered; register its spec first"
    if state in (REQUESTS if freezes else _NAMED)[action]:
        return None
    allowed = sorted(name for name, states in _NAMED.items() if state in states)
    return f"{action} is not allowed while the experiment is {state}; allowed now: {', '.join(allowed)}"


def strengthens(action: Action, state: Lifecycle) -> bool:
    """Whether an automatic action would still lower exposure or latch harder than the state already does."""
    if state not in STRENGTH:
        return False
    after = AFTER.get(action, Lifecycle.RUNNING)
    if after == Lifecycle.RUNNING:
        return state in LIVE
    return STRENGTH.index(after) > STRENGTH.index(state)
