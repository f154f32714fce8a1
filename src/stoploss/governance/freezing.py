"""Stop the line: everything that runs is paused, and nothing is started, resumed or ramped up until the stop is lifted.

One request with one id, told to every ledger partition. Each judge pauses what runs on its own, and remembers the stop
in its state, so a restart forgets nothing. Lifting it starts nothing: each experiment waits for a person's resume.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stoploss.commands import Action
from stoploss.decisions import command
from stoploss.governance.record import Freeze, stood_before
from stoploss.journal import RequestHandled
from stoploss.ledger import Request
from stoploss.lifecycle import FREEZE, LIVE
from stoploss.outputs import Outputs
from stoploss.state import ExperimentState, PartitionState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def take(state: PartitionState, request: Request, out: Outputs) -> None:
    """Stops the line or lifts the stop; a request that was refused, or stood before the last one, is passed over."""
    if not request.accepted or stood_before(request.source or "", state.freeze.source):
        return
    state.freeze.source = request.source or ""
    if request.action == FREEZE:
        _freeze(state, request, out)
    else:
        _lift(state, request, out)


def objection(freeze: Freeze) -> str | None:
    """Why exposure is not raised now; None where the line is not stopped."""
    if not freeze.in_force:
        return None
    return f"{standing(freeze.by, freeze.at, freeze.reason)}; a steward lifts it with `stoploss unfreeze`"


def standing(by: str, at: int, reason: str) -> str:
    """The stop in words; at: microseconds since 1970.

    >>> standing("carol", 1_790_000_000_000_000, "the provider is down")
    'the line is stopped since 2026-09-21 14:13 UTC by carol: the provider is down'
    """
    since = _EPOCH + timedelta(microseconds=at)
    return f"the line is stopped since {since:%Y-%m-%d %H:%M} UTC by {by}: {reason}"


def _freeze(state: PartitionState, request: Request, out: Outputs) -> None:
    """A second stop while one is in force changes nothing: nothing runs that it could pause."""
    freeze = state.freeze
    if freeze.in_force:
        return
    freeze.in_force, freeze.request_id = True, request.request_id
    freeze.by, freeze.reason, freeze.at = request.by, request.reason, out.at
    running = [experiment for experiment in state.experiments.values() if experiment.lifecycle in LIVE]
    freeze.paused = [experiment.name for experiment in running]
    for experiment in running:
        _say(experiment, request, "it is paused", out)
        _pause(experiment, request, out)


def _pause(experiment: ExperimentState, request: Request, out: Outputs) -> None:
    experiment.desired.exposure = 0.0
    experiment.desired.release_variant = experiment.experiment.spec.rollback.to
    reason = f"pause {experiment.name!r}: {request.by} has stopped the line: {request.reason}"
    command(experiment, Action.PAUSE, f"{FREEZE}/{request.request_id}", 1, reason, out)


def _lift(state: PartitionState, request: Request, out: Outputs) -> None:
    freeze = state.freeze
    if not freeze.in_force:
        return
    for name in freeze.paused:
        _say(state.experiments[name], request, "it stays as it is until somebody resumes it", out)
    freeze.in_force, freeze.paused = False, []


def _say(experiment: ExperimentState, request: Request, what: str, out: Outputs) -> None:
    said = f"{request.reason}; {what}"
    out.journal(experiment, RequestHandled(request.request_id, request.action, request.by, True, said))
