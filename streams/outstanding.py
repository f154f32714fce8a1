"""Commands that are not applied by everybody who has to yet, and since when; no Kafka in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stoploss.awaited import Awaited
from stoploss.commands import Ack, AckStatus, Command
from stoploss.control.messages import CommandMessage
from stoploss.ledger import AckOverdue

PROMPT_RESENDS = 8
LONGEST_WAIT = 12
"""In deadlines: what is not applied after so many re-sends is sent again ever more seldom, but for ever."""


@dataclass(slots=True)
class Waiting:
    """The last command of an experiment, its message as it was, and who still has to apply it.

    since_s  monotonic time at which the courier read it at the end of the log, or sent it again
    """

    command: Command
    message: CommandMessage
    awaited: Awaited
    since_s: float
    first_s: float
    resent: int = 0

    def patience(self) -> int:
        """Deadlines until it is sent again."""
        return min(LONGEST_WAIT, 1 << min(10, max(0, self.resent - PROMPT_RESENDS)))


@dataclass(slots=True)
class Outstanding:
    """The last command of each experiment: a later one subsumes all earlier.

    latest  by experiment: run and sequence of the monitor's last command
    glass   by experiment: id of the last command of a person, which has no sequence
    early   by experiment: a command that is not read yet, and who has applied it; acks come on a topic of their own
    """

    deadline_s: float
    waiting: dict[str, Waiting] = field(default_factory=dict)
    latest: dict[str, tuple[int, int]] = field(default_factory=dict)
    glass: dict[str, str] = field(default_factory=dict)
    early: dict[str, tuple[str, list[tuple[str, str]]]] = field(default_factory=dict)

    def issued(
        self,
        command: Command,
        message: CommandMessage,
        now_s: float,
        instances: Mapping[str, Sequence[str]] | None = None,
    ) -> bool:
        """Notes a command; False where it is the last one again, or an older one.

        instances  those that live, by controller
        """
        if not self._is_new(command):
            return False
        command_id, applied = self.early.pop(command.experiment, ("", []))
        awaited = Awaited.of(command.controllers, instances or {})
        for controller, instance in applied if command_id == command.command_id else ():
            awaited.applied_by(controller, instance)
        self.waiting[command.experiment] = Waiting(command, message, awaited, now_s, now_s)
        return True

    def _is_new(self, command: Command) -> bool:
        run, sequence = self.latest.get(command.experiment, (0, 0))
        if command.breaks_glass:
            again = self.glass.get(command.experiment) == command.command_id
            self.glass[command.experiment] = command.command_id
            return command.run >= run and not again
        if (command.run, command.sequence) <= (run, sequence):
            return False
        self.latest[command.experiment] = (command.run, command.sequence)
        return True

    def acked(self, ack: Ack) -> Command | None:
        """Notes an ack; the command that it answers, or None where that is not the last one of its experiment."""
        waiting = self.waiting.get(ack.experiment)
        if waiting is None or waiting.command.command_id != ack.command_id:
            if waiting is None or (ack.run, ack.sequence) > (waiting.command.run, waiting.command.sequence):
                self._came_early(ack)
            return None
        if ack.status == AckStatus.APPLIED:
            waiting.awaited.applied_by(ack.controller, ack.instance)
        return waiting.command

    def _came_early(self, ack: Ack) -> None:
        if ack.status != AckStatus.APPLIED:
            return
        command_id, applied = self.early.get(ack.experiment, ("", []))
        known = applied if command_id == ack.command_id else []
        one = (ack.controller, ack.instance)
        self.early[ack.experiment] = (ack.command_id, known if one in known else [*known, one])

    def alive(self, controller: str, instance: str) -> None:
        for waiting in self.waiting.values():
            waiting.awaited.alive(controller, instance)

    def left(self, controller: str, instance: str) -> None:
        for waiting in self.waiting.values():
            waiting.awaited.left(controller, instance)

    def awaits(self, experiment: str) -> bool:
        """Whether anybody has yet to apply its last command."""
        waiting = self.waiting.get(experiment)
        return waiting is not None and bool(waiting.awaited)

    def overdue(self, now_s: float) -> list[tuple[Waiting, list[AckOverdue]]]:
        """Commands whose deadline has passed again, to be sent anew, with what to tell of each who is late."""
        late = [
            waiting
            for waiting in self.waiting.values()
            if waiting.awaited and now_s - waiting.since_s >= self.deadline_s * waiting.patience()
        ]
        return [(waiting, self._again(waiting, now_s)) for waiting in late]

    def _again(self, waiting: Waiting, now_s: float) -> list[AckOverdue]:
        waiting.since_s, waiting.resent = now_s, waiting.resent + 1
        command = waiting.command
        waited_ms = round((now_s - waiting.first_s) * 1_000)
        return [
            AckOverdue(
                command.experiment,
                command.command_id,
                controller,
                waited_ms,
                waiting.resent,
                command.run,
                command.sequence,
                instance,
            )
            for controller, instance in waiting.awaited.named()
        ]
