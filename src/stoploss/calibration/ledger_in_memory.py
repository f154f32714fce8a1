"""A ledger partition in memory, for one experiment: what is appended is judged at once by the judge's own step."""

from __future__ import annotations

from itertools import count

from stoploss.calibration.requests import SOURCE
from stoploss.commands import Command, Micros
from stoploss.journal import Finding, JournalEntry
from stoploss.ledger import AckReceived, Entry, Fact, Request, SourceStatus, Tick
from stoploss.monitor import step
from stoploss.outputs import CommandOutput, JournalOutput, Output
from stoploss.rules.verdict import Outcome, Reason
from stoploss.spec.file import parsed
from stoploss.spec.unpaced import unpaced
from stoploss.state import ExperimentState, PartitionState

BY = "calibration"


class LedgerInMemory:
    """The experiment is registered and started, and every controller applies each command at once.

    Its windows and its ramp are left out: what was recorded at night is judged all the same, at one exposure.
    """

    def __init__(self, text: str, at: Micros, exposure: float) -> None:
        text = unpaced(text)
        self.state = PartitionState(0)
        self.at = at
        self.experiment = parsed(text)
        self._offsets = count()
        self._request("register", text, None)
        self._request("start", None, exposure)

    @property
    def judged(self) -> ExperimentState:
        return self.state.experiments[self.experiment.name]

    def append(self, fact: Fact) -> list[Output]:
        """What the judge says of a fact; its commands are applied before the next one."""
        out = step(self.state, Entry(0, next(self._offsets), self.at, fact))
        for output in out:
            if isinstance(output, CommandOutput):
                self._apply(output.command)
        return out

    def tick(self) -> list[Output]:
        """A second of ledger time: intake has read everything, and the judge looks."""
        self.append(SourceStatus(SOURCE, 0, 0, 0, 0, 0, 0, 0, (), self.at))
        return self.append(Tick(0, BY))

    def _request(self, action: str, spec: str | None, exposure: float | None) -> None:
        name = self.experiment.name
        self.append(Request(action, name, action, BY, "", self.at, spec, None, exposure, 0, accepted=True, opinion=""))

    def _apply(self, command: Command) -> None:
        for controller in command.controllers:
            self.append(
                AckReceived(
                    experiment=command.experiment,
                    command_id=command.command_id,
                    controller=controller,
                    instance=BY,
                    status="applied",
                    reason="",
                    at=self.at,
                    run=command.run,
                    sequence=command.sequence,
                    source=BY,
                )
            )


def breaches(out: list[Output]) -> list[tuple[JournalEntry, Finding]]:
    """A rule's findings of a breach among outputs, in order. That nobody obeys a stop here is none."""
    entries = [output.entry for output in out if isinstance(output, JournalOutput)]
    found = [(entry, entry.conclusion) for entry in entries if isinstance(entry.conclusion, Finding)]
    return [
        (entry, finding)
        for entry, finding in found
        if finding.verdict == Outcome.BREACH and finding.reason != Reason.SERVED_AFTER_STOP
    ]
