"""Commands to test with: one experiment, `small` against `current`, at 10 % unless a test says otherwise."""

from __future__ import annotations

import dataclasses
from typing import Any

from stoploss.commands import BREAK_GLASS_SEQUENCE, Action, Command, Evidence, Segment

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
TOPIC = "stoploss.control"

EVIDENCE = Evidence(
    rule="guardrail",
    rule_version=1,
    metric="error_rate",
    segment=Segment("tenant", "acme"),
    control=0.02,
    treatment=0.09,
    lower=0.051,
    margin=0.01,
    n_control=12_000,
    n_treatment=1_150,
    units_control=9_000,
    units_treatment=800,
)

FIRST = Command(
    command_id="c-1-1",
    experiment="checkout",
    run=1,
    epoch=1,
    sequence=1,
    action=Action.SET_EXPOSURE,
    flag="checkout-model",
    release_variant="current",
    control_variant="current",
    treatment_variant="small",
    exposure=0.10,
    stopped_segments=(),
    reason="The first stage of the ramp begins.",
    evidence=None,
    decided_at=NOW,
    expires_at=NOW + 60 * SECOND,
    dry_run=False,
    topic=TOPIC,
    controllers=("flagd",),
)


def order(action: Action = Action.SET_EXPOSURE, sequence: int = 1, run: int = 1, **changes: Any) -> Command:
    """A command of this action; its id is made from run and sequence, and only a raise expires."""
    raises = action is Action.SET_EXPOSURE
    defaults: dict[str, Any] = {
        "command_id": f"c-{run}-{sequence}",
        "exposure": 0.10 if raises else 0.0,
        "expires_at": FIRST.expires_at if raises else None,
    }
    fields = {**defaults, **changes}
    return dataclasses.replace(FIRST, action=action, sequence=sequence, run=run, **fields)


def broken_glass(run: int = 1, **changes: Any) -> Command:
    """A person's stop past the monitor, given a second after everything else."""
    fields = {"command_id": f"glass-{run}", "decided_at": NOW + SECOND, **changes}
    return order(Action.STOP, BREAK_GLASS_SEQUENCE, run, reason="ada broke the glass", **fields)


def rollback(sequence: int = 2, run: int = 1, **changes: Any) -> Command:
    return order(Action.ROLLBACK, sequence, run, reason="small leaked PII; everybody gets current.", **changes)
