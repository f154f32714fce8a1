"""Whether to obey: a command against what was applied last. Pure, so that every controller decides alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoploss.commands import Action, Command, Micros
from stoploss.control.position import LATCHING, Position, position_after
from stoploss.control.rfc3339 import rfc3339

NEVER_EXPIRE = frozenset({Action.STOP_SEGMENT, Action.THROTTLE, Action.PAUSE, Action.ROLLBACK, Action.STOP})


@dataclass(frozen=True, slots=True)
class Obey:
    """Apply it: it is newer than all before."""


@dataclass(frozen=True, slots=True)
class AckAgain:
    """The last applied command came again: its state holds, say so again."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Leave everything as it is, and say why."""

    reason: str


Decision = Obey | AckAgain | Refuse


def decide(position: Position | None, command: Command, now: Micros, *, in_force: bool = False) -> Decision:
    """What a controller does with a verified command.

    position  what it applied last for this experiment, None: nothing
    now       the controller's clock
    in_force  the registry names this command, and that a controller has applied it: restoring it after a start raises
              nothing, so it may be expired
    """
    reason = _contradiction(command) or _out_of_order(position, command) or _past_glass(position, command)
    if reason:
        return Refuse(reason)
    if position is not None and command.command_id in (position.command_id, position.glass_id):
        return AckAgain()
    reason = _not_raisable(position, command) or (None if in_force else _expired(position, command, now))
    return Refuse(reason) if reason else Obey()


def raises_exposure(position: Position | None, command: Command) -> bool:
    """Whether anybody could get the treatment variant who does not get it in the state before."""
    if position is None:
        return command.exposure > 0 or command.release_variant != command.control_variant
    reopened = set(position.stopped_segments) - set(command.stopped_segments)
    released = command.release_variant not in (position.release_variant, command.control_variant)
    anybody = command.exposure > 0 or command.release_variant != command.control_variant
    return command.exposure > position.exposure or released or (bool(reopened) and anybody)


def _contradiction(command: Command) -> str | None:
    """A desired state that cannot be meant."""
    if not 0 <= command.exposure <= 1:
        return f"exposure {command.exposure} is no share between 0 and 1"
    if command.action in LATCHING and command.exposure > 0:
        return f"a {command.action.value} that leaves exposure {command.exposure} contradicts itself"
    if command.action is Action.ROLLBACK and command.release_variant != command.control_variant:
        return f"a rollback to {command.release_variant!r}, which is not the control variant, contradicts itself"
    return None


def _out_of_order(position: Position | None, command: Command) -> str | None:
    if position is None or command.run > position.run:
        return None
    if command.run < position.run:
        return f"it is of run {command.run}; run {position.run} was applied already"
    if command.breaks_glass:
        return None
    if command.sequence < position.sequence:
        return f"its sequence {command.sequence} is below {position.sequence}, applied last in run {position.run}"
    if command.sequence == position.sequence and command.command_id != position.command_id:
        return f"sequence {command.sequence} of run {command.run} was applied with another id, {position.command_id}"
    return None


def _past_glass(position: Position | None, command: Command) -> str | None:
    """What a person has stopped past the monitor stays so until a person resumes, later; lowering is always obeyed."""
    if position is None or position.glass_id is None or not raises_exposure(position, command):
        return None
    broken = f"a person broke the glass at {rfc3339(position.glass_at)} and"
    if command.run == position.run:
        return f"{broken} nothing raises the exposure of run {position.run}; a person's resume opens a new run"
    if command.decided_at <= position.glass_at:
        return f"{broken} this was decided before, at {rfc3339(command.decided_at)}; resume again"
    return None


def _not_raisable(position: Position | None, command: Command) -> str | None:
    """What may lower exposure at any time but never raise it: a stopped run, and an action from a newer monitor."""
    if not raises_exposure(position, command):
        return None
    if command.action is Action.UNKNOWN:
        return "its action is unknown to this version and it raises exposure; upgrade this controller"
    if position is not None and position.latched and command.run == position.run:
        return f"run {position.run} was stopped and nothing raises its exposure; a person's resume opens a new run"
    return None


def _expired(position: Position | None, command: Command, now: Micros) -> str | None:
    """Only a raise expires, and throttling counts as lowering from wherever this controller stands."""
    if command.expires_at is None or now < command.expires_at or command.action in NEVER_EXPIRE:
        return None
    return (
        f"it raises exposure and expired at {rfc3339(command.expires_at)}"
        if raises_exposure(position, command)
        else None
    )


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is left of an experiment's backlog, and where a controller stands that has obeyed all before it."""

    before: Position | None
    commands: Sequence[Command]


def effective(
    position: Position | None, commands: Sequence[Command], now: Micros, *, in_force: str | None = None
) -> Backlog:
    """The last command to obey and those after it, to be refused or answered.

    A later command subsumes all earlier ones, so a controller that starts late skips the states in between; it keeps
    what they latched.
    in_force  id of the command that the registry names
    """
    left = Backlog(position, commands[-1:])
    for index, command in enumerate(commands):
        decision = decide(position, command, now, in_force=command.command_id == in_force)
        if isinstance(decision, Refuse) or command.dry_run:
            continue
        left = Backlog(position, commands[index:])
        if isinstance(decision, Obey):
            position = position_after(command, position)
    return left
