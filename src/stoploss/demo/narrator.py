"""The demo's voice: chapters, and a line with its time (UTC) whenever something happens."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from stoploss.commands import AckStatus, Action, Command
from stoploss.demo.observers import SeenAck, SeenCommand, Told
from stoploss.journal import ExposuresCounted, Finding, JournalEntry
from stoploss.rules.verdict import Outcome, Severity

HARM, ANSWER, DONE = "yellow", "bold red", "green"
LONGEST = "harm begins"


class Narrator:
    """Prints as things happen; threads may speak at the same time."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._commands: dict[str, Command] = {}

    def chapter(self, title: str) -> None:
        self.console.print()
        self.console.print(Text(title, style="bold"))

    def aside(self, sentence: str) -> None:
        self._indented(sentence, "dim")

    def trouble(self, sentence: str) -> None:
        self._indented(sentence, "red")

    def _indented(self, sentence: str, style: str) -> None:
        self.console.print(Padding(Text(sentence, style=style), (0, 0, 0, 2), expand=False))

    def happened(self, at_s: float, what: str, sentence: str, style: str = "") -> None:
        """A line with the time in front; long sentences are continued below themselves."""
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(no_wrap=True)
        line.add_column(min_width=len(LONGEST), no_wrap=True)
        line.add_row(Text(f"  {clock(at_s)}", style="dim"), Text(what, style=style), sentence)
        self.console.print(line)

    def harm(self, at_s: float, experiment: str, story: str) -> None:
        self.happened(at_s, "harm begins", f"{experiment}: {story}", HARM)

    def hear(self, told: Told) -> None:
        """Retells what came in on the topics."""
        match told:
            case SeenCommand():
                self._command(told)
            case SeenAck(ack) if ack.status == AckStatus.APPLIED:
                self._applied(told)
            case JournalEntry(conclusion=Finding() as finding) if is_notice(finding):
                self.happened(told.at / 1e6, "notice", f"{told.experiment}: {finding.sentence}", HARM)
            case JournalEntry(conclusion=ExposuresCounted() as counted):
                said = f"{counted.in_flight:,} requests were in flight, {counted.after_stop:,} began afterwards"
                self.happened(told.at / 1e6, "after stop", f"{told.experiment}: {said}")
            case _:
                return

    def _command(self, seen: SeenCommand) -> None:
        """What raises exposure is told when it is applied."""
        command = seen.command
        self._commands[command.command_id] = command
        if command.action != Action.SET_EXPOSURE:
            self.happened(seen.seen_at_s, command.action.value, f"{command.experiment}: {because(command)}", ANSWER)

    def _applied(self, seen: SeenAck) -> None:
        """Two topics: an answer may be here before the command that it answers."""
        command = self._commands.get(seen.ack.command_id)
        if command is None:
            said = f"the flag of {seen.ack.experiment} is as commanded"
        elif command.exposure > 0:
            said = f"{command.experiment}: {command.exposure * 100:g} % of the users get {command.treatment_variant!r}"
        else:
            said = f"{command.experiment}: everybody gets {command.release_variant!r}"
        self.happened(seen.seen_at_s, "flag", said, DONE)


def is_notice(finding: Finding) -> bool:
    """A breach that people are told of while the variant is left where it is."""
    return finding.verdict == Outcome.BREACH and finding.severity == Severity.HOLD


def because(command: Command) -> str:
    """The reason alone; a command's own sentence begins with its action and experiment."""
    return command.reason.removeprefix(f"{command.action} {command.experiment!r}: ")


def clock(at_s: float) -> str:
    """Time of day, UTC.

    >>> clock(1_700_000_000.4)
    '22:13:20'
    """
    return datetime.fromtimestamp(at_s, UTC).strftime("%H:%M:%S")
