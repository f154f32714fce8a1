"""What a judge makes of an experiment whose record it does not come to by folding the ledger: the record stands.

A fold by another version's rules may come to other words, and at worst to other acts; of a ledger that was cut off
there is none. What was published was obeyed, so it is followed: the journal goes on behind its last entry, commands
behind their last sequence, and what was stopped stays so. What runs is judged by nobody, so it is paused.
"""

from __future__ import annotations

from collections.abc import Iterable

from stoploss.commands import AckStatus, Segment
from stoploss.errors import InvalidExperiment
from stoploss.followup import OpenIncident
from stoploss.governance.record import Governance
from stoploss.ledger import AckReceived, Request
from stoploss.lifecycle import LIVE, Lifecycle
from stoploss.registry import RegistryEntry
from stoploss.spec.file import parsed
from stoploss.state import Cursor, Desired, ExperimentState, RunState

OTHER_VERSION = "this version of the judge does not come to what another one did here; resume it to judge it anew"
GAP = "the ledger was deleted further than it had been judged, and evidence with it; resume it to judge it anew"

Acts = tuple[str, int, int, str, float, tuple[Segment, ...], str]


def can_judge(published: RegistryEntry) -> bool:
    """Whether this version knows the spec's fields and the lifecycle's state; a newer one may have more of both."""
    try:
        parsed(published.spec)
    except InvalidExperiment:
        return False
    return published.lifecycle in set(Lifecycle)


def follow(
    state: ExperimentState, cursor: Cursor, published: RegistryEntry, acks: Iterable[AckReceived]
) -> Request | None:
    """Brings a state that was folded by these rules to what others have published.

    acks  that were heard while folding

    None where these rules had come to the same acts, in other words. Else evidence and record do not belong together:
    the run is judged by nobody's rules, so it is paused where it runs. The request is to be appended to the ledger; a
    person resumes, in a run that these rules judge from its first trace on.
    """
    same = _acts_of(state) == _acts_published(published)
    state.number, state.chain = cursor.number, cursor.chain
    if not same:
        _begin_anew(state, published)
        return _pause(state, f"another version's {cursor.chain}", OTHER_VERSION) if state.lifecycle in LIVE else None
    if state.desired.command_id != published.command_id:
        _hear_again(state, published.command_id, acks)
    return None


def adopt(
    known: ExperimentState | None, cursor: Cursor, published: RegistryEntry
) -> tuple[ExperimentState, Request | None]:
    """The state to go on from where the ledger's beginning is gone, and the pause of what runs.

    known  what a snapshot has of it, from before the gap. What is published too is newer there: an approval that was
           voided since, an incident that was closed
    """
    state = _begun(cursor, published) if known is None else known
    state.governance = _governance(published)
    state.incidents = _incidents(state.incidents, published)
    state.number, state.chain = cursor.number, cursor.chain
    _begin_anew(state, published)
    return state, _pause(state, f"gap behind {cursor.chain}", GAP) if state.lifecycle in LIVE else None


def _begun(cursor: Cursor, entry: RegistryEntry) -> ExperimentState:
    current, desired = RunState.begin(entry.spec), Desired(entry.release_variant)
    return ExperimentState(entry.experiment, cursor.partition, entry.spec, entry.spec_hash, desired, current)


def _governance(entry: RegistryEntry) -> Governance:
    """What was said to be due or to end soon is said again: that is better than not at all."""
    governance = Governance(
        list(entry.authors),
        list(entry.approvals),
        list(entry.amendments),
        completion=entry.completion,
        rechecked={one.item: one.at for one in entry.rechecked},
        unexplained_at=entry.unexplained_at,
    )
    governance.rehearsal.acknowledged_at = entry.rehearsed_at
    return governance


def _incidents(known: Iterable[OpenIncident], entry: RegistryEntry) -> list[OpenIncident]:
    """Those that are open, with the remedies that they are known to wait for."""
    by_command = {incident.command_id: incident for incident in known}
    return [by_command.get(command_id) or OpenIncident(command_id) for command_id in entry.open_incidents]


def _acts_of(state: ExperimentState) -> Acts:
    wants = state.desired
    place = (state.lifecycle.value, state.run, state.sequence)
    return (*place, wants.release_variant, wants.exposure, tuple(wants.stopped_segments), state.spec_hash)


def _acts_published(entry: RegistryEntry) -> Acts:
    place = (entry.lifecycle, entry.run, entry.sequence)
    return (*place, entry.release_variant, entry.exposure, tuple(entry.stopped_segments), entry.spec_hash)


def _begin_anew(state: ExperimentState, entry: RegistryEntry) -> None:
    state.lifecycle = Lifecycle(entry.lifecycle)
    state.run, state.epoch, state.sequence, state.epoch_open = entry.run, entry.epoch, entry.sequence, False
    state.spec, state.spec_hash = entry.spec, entry.spec_hash
    state.current = RunState.begin(entry.spec)
    state.desired = Desired(
        entry.release_variant,
        entry.exposure,
        list(entry.stopped_segments),
        entry.command_id,
        decided_at=entry.changed_at,
        applied_at=entry.changed_at,
        served_at=entry.served_at,
    )


def _pause(state: ExperimentState, request_id: str, reason: str) -> Request:
    """The same one, whoever finds it out again after a crash."""
    return Request(
        request_id=request_id,
        experiment=state.name,
        action="pause",
        by="stoploss",
        reason=reason,
        at=state.desired.decided_at,
        partition=state.partition,
        accepted=True,
        opinion="",
    )


def _hear_again(state: ExperimentState, command_id: str | None, acks: Iterable[AckReceived]) -> None:
    """A command's id names the version of its rule: its acks were a stranger's as long as the fold had another."""
    wants = state.desired
    wants.command_id = command_id
    for ack in acks:
        if ack.command_id == command_id and ack.experiment == state.name:
            wants.acked.append(f"{ack.controller}/{ack.instance}/{ack.status}")
            if ack.status == AckStatus.APPLIED:
                wants.served_at = wants.decided_at if wants.served_at is None else wants.served_at
                wants.awaiting.applied_by(ack.controller, ack.instance)
    if not wants.awaiting and wants.applied_at is None:
        wants.applied_at = wants.decided_at
        state.epoch_open = state.lifecycle in LIVE and wants.exposure > 0
