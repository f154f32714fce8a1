"""Commands that are not applied by every required controller yet, and since when; no Kafka in here."""

from __future__ import annotations

from dataclasses import dataclass, field

from stoploss.commands import Ack, AckStatus, Command
from stoploss.control.messages import CommandMessage
from stoploss.ledger import AckOverdue


@dataclass(slots=True)
class Waiting:
    """The last command of an experiment, its message as it was, and the controllers that still have to apply it.

    since_s  monotonic time at which the courier read it at the end of the log, or sent it again
    """

    command: Command
    message: CommandMessage
    controllers: set[str]
    since_s: float
    first_s: float
    resent: int = 0


@dataclass(slots=True)
class Outstanding:
    """The last command of each experiment: a later one subsumes all earlier.

    early  by experiment: a command that is not read yet, and who has applied it; acks come on a topic of their own
    """

    deadline_s: float
    waiting: dict[str, Waiting] = field(default_factory=dict)
    early: dict[str, tuple[str, set[str]]] = field(default_factory=dict)

    def issued(self, command: Command, message: CommandMessage, now_s: float) -> bool:
        """Notes a command; False where it is the last one again, or an older one."""
        known = self.waiting.get(command.experiment)
        if known is not None and (command.run, command.sequence) <= (known.command.run, known.command.sequence):
            return False
        command_id, applied = self.early.pop(command.experiment, ("", set[str]()))
        controllers = set(command.controllers) - (applied if command_id == command.command_id else set())
        self.waiting[command.experiment] = Waiting(command, message, controllers, now_s, now_s)
        return True

    def acked(self, ack: Ack) -> Command | None:
        """Notes an ack; the command that it answers, or None where that is not the last one of its experiment."""
        waiting = self.waiting.get(ack.experiment)
        if waiting is None or waiting.command.command_id != ack.command_id:
            if waiting is None or (ack.run, ack.sequence) > (waiting.command.run, waiting.command.sequence):
                self._came_early(ack)
            return None
        if ack.status == AckStatus.APPLIED:
            waiting.controllers.discard(ack.controller)
        return waiting.command

    def _came_early(self, ack: Ack) -> None:
        if ack.status != AckStatus.APPLIED:
            return
        command_id, applied = self.early.get(ack.experiment, ("", set[str]()))
        known = applied if command_id == ack.command_id else set[str]()
        self.early[ack.experiment] = (ack.command_id, known | {ack.controller})

    def overdue(self, now_s: float) -> list[tuple[Waiting, list[AckOverdue]]]:
        """Commands whose deadline has passed again, to be sent anew, with what to tell of each controller."""
        late = [w for w in self.waiting.values() if w.controllers and now_s - w.since_s >= self.deadline_s]
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
            )
            for controller in sorted(waiting.controllers)
        ]
