"""What a judge makes of an experiment that a judge of another version has judged up to here: the record stands.

A fold by other rules may come to other words, and at worst to other acts. What was published was obeyed, so it is
followed: the journal goes on behind its last entry, commands behind their last sequence, and what was stopped stays so.
"""

from __future__ import annotations

from collections.abc import Iterable

from stoploss.commands import AckStatus, Segment
from stoploss.errors import InvalidExperiment
from stoploss.ledger import AckReceived, Request
from stoploss.lifecycle import LIVE, Lifecycle
from stoploss.registry import RegistryEntry
from stoploss.spec.file import parsed
from stoploss.state import Cursor, Desired, ExperimentState, RunState

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
        return _pause(state, cursor) if state.lifecycle in LIVE else None
    if state.desired.command_id != published.command_id:
        _hear_again(state, published.command_id, acks)
    return None


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


def _pause(state: ExperimentState, cursor: Cursor) -> Request:
    """The same one, whoever finds it out again after a crash."""
    return Request(
        request_id=f"another version's {cursor.chain}",
        experiment=state.name,
        action="pause",
        by="stoploss",
        reason="this version of the judge does not come to what another one did here; resume it to judge it anew",
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
