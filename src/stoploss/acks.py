"""What controllers say, as the judge hears it: who lives, who has applied the command in force, who refused one.

A command counts as applied once every live instance of each required controller has applied it.
"""

from __future__ import annotations

from stoploss.commands import AckStatus
from stoploss.decisions import judge_one, open_epoch_if_applied
from stoploss.folding import moment_of
from stoploss.governance.effects import rehearsed
from stoploss.journal import CommandAcked
from stoploss.ledger import AckOverdue, AckReceived, SourceStatus
from stoploss.outputs import Outputs
from stoploss.rules import Heard
from stoploss.state import ExperimentState

MOST_INSTANCES = 256
REFUSALS_SAID = 64
"""Refusals of commands that are not in force are said one by one up to here, then whenever their number has doubled."""


def hear(state: ExperimentState, fact: Heard, out: Outputs) -> None:
    """Tells the rules that listen. What is said of commands is judged at once, even after a stop; the rest at ticks."""
    if state.run < 1:
        return
    moment = moment_of(state, out.at, caught_up=False, due=())
    for rule in state.hearing_rules:
        rule.hear(state.current.rules[rule.key], fact, moment)
        if not isinstance(fact, SourceStatus):
            judge_one(state, rule, moment, out)


def acked(state: ExperimentState, ack: AckReceived, out: Outputs) -> None:
    hear(state, ack, out)
    if ack.status in (AckStatus.ALIVE, AckStatus.LEFT):
        _note_instance(state, ack)
        if _settles(state, out):
            out.registry(state)
    elif ack.command_id == state.desired.command_id:
        _note_answer(state, ack, out)
    elif ack.command_id == state.governance.rehearsal.command_id:
        rehearsed(state, ack, out)
    elif ack.status == AckStatus.REJECTED:
        _note_refusal(state, ack, out)


def overdue(state: ExperimentState, fact: AckOverdue, out: Outputs) -> None:
    desired = state.desired
    if fact.command_id == desired.command_id and desired.awaiting.includes(fact.controller, fact.instance):
        reason = f"not applied after {fact.waited_ms} ms, sent again {fact.resent} times"
        out.journal(state, CommandAcked(fact.command_id, fact.controller, fact.instance, "overdue", reason))
        hear(state, fact, out)


def _note_instance(state: ExperimentState, ack: AckReceived) -> None:
    known = state.instances.setdefault(ack.controller, [])
    if ack.status == AckStatus.LEFT:
        if ack.instance in known:
            known.remove(ack.instance)
        state.desired.awaiting.left(ack.controller, ack.instance)
    elif ack.instance not in known:
        known.append(ack.instance)
        del known[:-MOST_INSTANCES]
        state.desired.awaiting.alive(ack.controller, ack.instance)


def _note_answer(state: ExperimentState, ack: AckReceived, out: Outputs) -> None:
    desired = state.desired
    mark = f"{ack.controller}/{ack.instance}/{ack.status}"
    if mark in desired.acked:
        return
    desired.acked.append(mark)
    out.journal(state, CommandAcked(ack.command_id, ack.controller, ack.instance, ack.status, ack.reason))
    if ack.status == AckStatus.APPLIED:
        first = desired.served_at is None
        desired.served_at = out.at if first else desired.served_at
        desired.awaiting.applied_by(ack.controller, ack.instance)
        if _settles(state, out) or first:
            out.registry(state)


def _settles(state: ExperimentState, out: Outputs) -> bool:
    """The moment at which nobody is awaited any more is when the command counts as applied; True: its epoch opens."""
    desired = state.desired
    if desired.awaiting or desired.applied_at is not None or desired.command_id is None:
        return False
    desired.applied_at = out.at
    was_open = state.epoch_open
    open_epoch_if_applied(state, out)
    return state.epoch_open and not was_open


def _note_refusal(state: ExperimentState, ack: AckReceived, out: Outputs) -> None:
    """A command that is not in force was refused: forged, replayed, expired, or of another installation."""
    if ack.source in state.refusals_heard:
        return
    state.refusals_heard = [*state.refusals_heard[1 - REFUSALS_SAID :], ack.source]
    state.refusals += 1
    if state.refusals <= REFUSALS_SAID or state.refusals.bit_count() == 1:
        out.journal(state, CommandAcked(ack.command_id, ack.controller, ack.instance, ack.status, ack.reason))
