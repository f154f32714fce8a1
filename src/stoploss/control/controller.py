"""A controller: verifies, decides, acts through its actuator, remembers, and answers with acks.

How the commands arrive (kafka_loop.py) and what is switched (flagd.py) are not its business.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from stoploss.commands import Ack, AckStatus, Command, Micros
from stoploss.control.decide import Refuse, decide, effective, raises_exposure
from stoploss.control.messages import CommandMessage, read_command
from stoploss.control.position import Position, PositionFile, position_after
from stoploss.errors import CommandRefused, StoplossError
from stoploss.signing import Verifier

log = structlog.get_logger(__name__)

NO_EXPERIMENT = ""
UNVERIFIED = "unverified-"
"""Begins the id in the rejection of a message that could not be verified: what it claims to be is not believed."""

LONGEST_SAID = 2_000
"""Characters of a reason, or of a name that nobody vouches for: an ack has to fit wherever it is passed on."""


class Actuator(Protocol):
    """Brings about a desired state; again and again with the same result."""

    def apply(self, command: Command) -> None:
        """Returns once the state holds durably; raises StoplossError or OSError where it cannot be brought about."""
        ...


def wall_clock() -> Micros:
    return time.time_ns() // 1_000


class Controller:
    """Obeys the commands of every experiment on the control topic, one at a time, from one thread."""

    def __init__(
        self,
        *,
        name: str,
        instance: str,
        actuator: Actuator,
        verifier: Verifier,
        positions: PositionFile,
        clock: Callable[[], Micros] = wall_clock,
        listed_only: bool = False,
    ) -> None:
        """
        name      as the spec's `controllers` lists it
        instance  which of several controllers of that name this is
        clock     microseconds since 1970-01-01 UTC, for the expiry of raises and the time of acks
        listed_only  passes over the commands of specs that list controllers, and not this one
        """
        self.name = name
        self.instance = instance
        self._actuator = actuator
        self._verifier = verifier
        self._positions = positions
        self._standing = positions.all()
        self._clock = clock
        self._listed_only = listed_only

    def handle(self, message: CommandMessage) -> list[Ack]:
        """Obeys or refuses one message; the acks to publish, `received` before `applied` or `rejected`."""
        try:
            command = self._read(message)
        except CommandRefused as refusal:
            return [self._unverified(message, refusal)]
        return self._obey(command, in_force=False)

    def catch_up(self, messages: Iterable[CommandMessage], in_force: Mapping[str, str]) -> list[Ack]:
        """Brings every experiment to its latest state after a start, without passing through the ones in between.

        messages  the control topic from its beginning
        in_force  command id by experiment, as the registry has it
        """
        acks: list[Ack] = []
        backlog: dict[str, list[Command]] = {}
        for message in messages:
            try:
                command = self._read(message)
            except CommandRefused as refusal:
                _log_unverified(message, refusal)
            else:
                backlog.setdefault(command.experiment, []).append(command)
        for experiment, commands in backlog.items():
            acks += self._catch_up_one(experiment, commands, in_force.get(experiment))
        return acks

    def _catch_up_one(self, experiment: str, commands: list[Command], in_force: str | None) -> list[Ack]:
        left = effective(self._standing.get(experiment), commands, self._clock(), in_force=in_force)
        if left.before is not None:
            self._standing[experiment] = left.before
        return [
            ack for command in left.commands for ack in self._obey(command, in_force=command.command_id == in_force)
        ]

    def _read(self, message: CommandMessage) -> Command:
        return read_command(message.value, message.headers, message.topic, self._verifier)

    def _obey(self, command: Command, *, in_force: bool) -> list[Ack]:
        if self._listed_only and command.controllers and self.name not in command.controllers:
            return []
        received = self._ack(command, AckStatus.RECEIVED)
        before = self._standing.get(command.experiment)
        decision = decide(before, command, self._clock(), in_force=in_force)
        if isinstance(decision, Refuse):
            log.warning("command_refused", topic=command.topic, **_named(command), reason=decision.reason)
            return [received, self._ack(command, AckStatus.REJECTED, decision.reason)]
        if command.dry_run:
            return [received, self._ack(command, AckStatus.APPLIED, "dry run")]
        return [received, self._act(command, before)]

    def _act(self, command: Command, before: Position | None) -> Ack:
        """Action first, position second: a crash between the two applies the same state once more.

        A re-send acts too, so it heals what was changed behind the controller's back. An order to lower is remembered
        even where it cannot be carried out: nothing older or higher is obeyed in its place.
        """
        after = position_after(command, before)
        if not raises_exposure(before, command):
            self._standing[command.experiment] = after
        try:
            self._actuator.apply(command)
            self._positions.save(command.experiment, after)
        except (StoplossError, OSError) as error:
            log.error("command_not_applied", **_named(command), reason=str(error))
            return self._ack(command, AckStatus.REJECTED, f"could not be applied: {error}")
        self._standing[command.experiment] = after
        return self._ack(command, AckStatus.APPLIED)

    def presence(self, status: AckStatus) -> Ack:
        """That this instance is there (alive), or goes in order (left): every live one has to apply each command."""
        name, instance, at = self.name, self.instance, self._clock()
        return Ack("", NO_EXPERIMENT, 0, 0, name, instance, status, "", at)

    def _ack(self, command: Command, status: AckStatus, reason: str = "") -> Ack:
        return Ack(
            command_id=command.command_id,
            experiment=command.experiment,
            run=command.run,
            sequence=command.sequence,
            controller=self.name,
            instance=self.instance,
            status=status,
            reason=reason[:LONGEST_SAID],
            at=self._clock(),
        )

    def _unverified(self, message: CommandMessage, refusal: CommandRefused) -> Ack:
        """A rejection under an id of its own, so that a forgery cannot answer for the command that it imitates."""
        _log_unverified(message, refusal)
        return Ack(
            command_id=UNVERIFIED + hashlib.sha256(message.value).hexdigest(),
            experiment=_claimed(message),
            run=0,
            sequence=0,
            controller=self.name,
            instance=self.instance,
            status=AckStatus.REJECTED,
            reason=str(refusal)[:LONGEST_SAID],
            at=self._clock(),
        )


def _log_unverified(message: CommandMessage, refusal: CommandRefused) -> None:
    """Its key is all that names it, and nobody has signed that."""
    named = {"topic": message.topic, "experiment": _claimed(message), "command_id": None}
    log.warning("command_refused", **named, reason=str(refusal)[:LONGEST_SAID])


def _claimed(message: CommandMessage) -> str:
    """The experiment that a message is about, by its key, which nobody has signed."""
    return message.key.decode("utf-8", "replace")[:LONGEST_SAID]


def _named(command: Command) -> dict[str, str]:
    return {"experiment": command.experiment, "command_id": command.command_id}
