"""Which action is allowed when. Automatic actions only ever lower exposure; only a person raises it or resumes.

registered ── start ──▶ running ◀──────────── resume (a new run) ─────────────┐
                           │  hold ▶ holding (exposure frozen)                │
                           ├── pause ──▶ paused ─────────────────────────────▶│
                           ├── stop ───▶ stopped ────────────────────────────▶│
                           └── rollback ▶ rolled_back ───────────────────────▶┘
"""

from __future__ import annotations

from enum import StrEnum

from stoploss.commands import Action


class Lifecycle(StrEnum):
    REGISTERED = "registered"
    RUNNING = "running"
    HOLDING = "holding"
    PAUSED = "paused"
    STOPPED = "stopped"
    ROLLED_BACK = "rolled_back"


LIVE = frozenset({Lifecycle.RUNNING, Lifecycle.HOLDING})
LATCHED = frozenset({Lifecycle.STOPPED, Lifecycle.ROLLED_BACK})

# What a person may ask for in each state. Where an action is missing, it is refused.
REQUESTS: dict[str, frozenset[Lifecycle]] = {
    "register": frozenset(Lifecycle) - LIVE - {Lifecycle.PAUSED},
    "start": frozenset({Lifecycle.REGISTERED}),
    "pause": LIVE,
    "resume": frozenset({Lifecycle.HOLDING, Lifecycle.PAUSED}) | LATCHED,
    "stop": LIVE | {Lifecycle.PAUSED},
    "rollback": LIVE | {Lifecycle.PAUSED},
}

# A person's signed command past the monitor; no request by the usual way can be one.
BREAK_GLASS = "break_glass"

# Where a command leads, and how much of the traffic is left to the treatment variant.
AFTER: dict[Action, Lifecycle] = {
    Action.STOP: Lifecycle.STOPPED,
    Action.ROLLBACK: Lifecycle.ROLLED_BACK,
    Action.PAUSE: Lifecycle.PAUSED,
}

# Later in this order is the stronger answer to harm; a weaker one does not follow a stronger one in a run.
STRENGTH = (Lifecycle.RUNNING, Lifecycle.HOLDING, Lifecycle.PAUSED, Lifecycle.ROLLED_BACK, Lifecycle.STOPPED)


def refusal(action: str, state: Lifecycle | None) -> str | None:
    """Why a request is refused in a state (None: the experiment is not registered), or None if it is allowed."""
    if action == BREAK_GLASS and state not in (None, Lifecycle.REGISTERED):
        return None
    if action not in REQUESTS:
        return f"unknown action {action!r}; known actions: {', '.join(REQUESTS)}"
    if state is None:
        return None if action == "register" else "the experiment is not registered; register its spec first"
    if state in REQUESTS[action]:
        return None
    allowed = sorted(name for name, states in REQUESTS.items() if state in states)
    return f"{action} is not allowed while the experiment is {state}; allowed now: {', '.join(allowed)}"


def strengthens(action: Action, state: Lifecycle) -> bool:
    """Whether an automatic action would still lower exposure or latch harder than the state already does."""
    if state not in STRENGTH:
        return False
    after = AFTER.get(action, Lifecycle.RUNNING)
    if after == Lifecycle.RUNNING:
        return state in LIVE
    return STRENGTH.index(after) > STRENGTH.index(state)
