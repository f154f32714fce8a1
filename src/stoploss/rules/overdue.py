"""Overdue: an instance of a required controller has not applied a command although it was sent again and again.

It pages, also after a stop, for an order that nobody obeys is the worst news there is; and it is over as soon as the
instance applies that command or a later one, or has left in order. The courier measures the time and sends again; its
facts stand in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from stoploss.commands import AckStatus, Evidence
from stoploss.experiment import Experiment
from stoploss.ledger import AckOverdue, AckReceived, SourceStatus
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict

PAGE = Response(None, Severity.PAGE)


@dataclass(slots=True)
class OverdueState(Newsworthy):
    """How often the command of (run, sequence) was sent again, by who has not applied it: a controller or an instance.

    A controller is named alone where none of its instances is known: then any of them settles it.
    """

    run: int = 0
    sequence: int = 0
    resent: dict[str, int] = field(default_factory=dict)


def named(fact: AckReceived | AckOverdue) -> str:
    return f"{fact.controller}/{fact.instance}" if fact.instance else fact.controller


@dataclass(frozen=True, slots=True)
class Overdue:
    """after: times that a command is sent again before somebody is woken."""

    after: int
    kind: str = field(default="overdue", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "overdue"

    @classmethod
    def of(cls, experiment: Experiment) -> Overdue:
        return cls(experiment.spec.health.overdue_after)

    def initial(self) -> OverdueState:
        return OverdueState()

    def hear(self, state: OverdueState, fact: SourceStatus | AckReceived | AckOverdue, moment: Moment) -> None:
        if isinstance(fact, SourceStatus):
            return
        if isinstance(fact, AckReceived) and fact.status == AckStatus.LEFT:
            state.resent.pop(named(fact), None)
        if (fact.run, fact.sequence) < (state.run, state.sequence):
            return
        if isinstance(fact, AckReceived):
            if fact.status == AckStatus.APPLIED:
                state.resent.pop(fact.controller, None)
                state.resent.pop(named(fact), None)
            return
        if (fact.run, fact.sequence) > (state.run, state.sequence):
            state.run, state.sequence, state.resent = fact.run, fact.sequence, {}
        state.resent[named(fact)] = fact.resent

    def fold(self, state: OverdueState, rows: Rows, moment: Moment) -> None:
        """Traces say nothing of acks."""

    def tick(self, state: OverdueState, moment: Moment) -> None:
        """The courier counts the time."""

    def close_epoch(self, state: OverdueState, moment: Moment) -> None:
        """A command stays overdue until it is applied."""

    def judge(self, state: OverdueState, moment: Moment) -> Iterator[Verdict]:
        late = sorted(name for name, resent in state.resent.items() if resent >= self.after)
        evidence = partial(self._evidence, state)
        if late:
            yield Verdict("acks", Outcome.BREACH, Reason.NOT_APPLIED, evidence, PAGE, detail=", ".join(late))
        else:
            yield Verdict("acks", Outcome.OK, Reason.APPLIED, evidence)

    def _evidence(self, state: OverdueState) -> Evidence:
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric="acks",
            statistic="times that a command was sent again",
            observed=float(max(state.resent.values(), default=0)),
            bound=float(self.after),
        )
