"""Blind is a state: the judge says so, holds the run after a while, and then lowers its exposure. It fails closed.

What is missing is counted in ticks (sight.py), so how long the blindness has lasted is a fact of the ledger. A hold
that only blindness asked for ends with it; a pause or stop waits for a person, as all of them do.
"""

from __future__ import annotations

from stoploss.commands import Action, Evidence
from stoploss.decisions import command, enter
from stoploss.journal import MonitorBlind
from stoploss.lifecycle import LIVE, Lifecycle
from stoploss.outputs import Outputs
from stoploss.sight import Missing
from stoploss.spec.health import Blind
from stoploss.state import ExperimentState, PartitionState

RULE, VERSION = "blind", 1


def look(partition: PartitionState, state: ExperimentState, out: Outputs) -> None:
    """Once a tick for every run: says when blindness begins and ends, and does what the spec asks for."""
    spec, sight = state.experiment.spec, state.current.sight
    sight.tick()
    found = sight.missing(
        spec.health.blind, canary_expected=bool(partition.canaries), timeout_s=spec.assignment.service_timeout
    )
    missing = next(found, None)
    if missing is None:
        _see_again(state, out)
    elif sight.since is not None or _exposed(state):
        _be_blind(state, missing, out)


def _exposed(state: ExperimentState) -> bool:
    return state.lifecycle in LIVE and state.desired.exposure > 0


def _be_blind(state: ExperimentState, missing: Missing, out: Outputs) -> None:
    sight, limits = state.current.sight, state.experiment.spec.health.blind
    if sight.since is None:
        sight.since, sight.blind, sight.cause = out.at, 0, str(missing.cause)
        sight.said = out.journal(state, MonitorBlind(sight.cause, missing.reason, out.at, None)).entry_id
    sight.blind += 1
    if not _exposed(state):
        return
    reason = f"{state.name!r} has not been seen for {sight.blind} seconds: {missing.reason}"
    if limits.then != "none" and sight.blind >= limits.after:
        _lower(state, limits, reason, out)
    elif sight.blind >= limits.hold and state.lifecycle == Lifecycle.RUNNING:
        sight.held = True
        enter(state, Lifecycle.HOLDING, f"hold {reason}", out)
        out.registry(state)


def _lower(state: ExperimentState, limits: Blind, reason: str, out: Outputs) -> None:
    sight, desired = state.current.sight, state.desired
    desired.exposure, desired.release_variant = 0.0, state.experiment.spec.rollback.to
    evidence = Evidence(
        rule=RULE,
        rule_version=VERSION,
        metric=sight.cause,
        statistic="seconds without sight",
        observed=float(sight.blind),
        bound=float(limits.after),
        journal_ids=(sight.said,),
    )
    action = Action(limits.then)
    command(state, action, RULE, VERSION, f"{action} {reason}", out, evidence=evidence)


def _see_again(state: ExperimentState, out: Outputs) -> None:
    sight = state.current.sight
    if sight.since is None:
        return
    reason = f"{state.name!r} is seen again after {sight.blind} seconds"
    out.journal(state, MonitorBlind(sight.cause, reason, sight.since, out.at))
    if sight.held and state.lifecycle == Lifecycle.HOLDING:
        enter(state, Lifecycle.RUNNING, reason, out)
        out.registry(state)
    sight.since, sight.held, sight.blind = None, False, 0
