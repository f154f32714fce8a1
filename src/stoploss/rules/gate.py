"""Gate: one event is enough. The first harm in the treatment arm stops the experiment before anything is scored.

A gate in the control arm freezes the experiment and pages: a rollback would send everybody to the arm that harms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from stoploss.arrays import indices
from stoploss.commands import Action, Evidence, Micros
from stoploss.experiment import Experiment
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import CONTROL, TREATMENT, Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict

FREEZE = Response(None, Severity.PAGE, hold=True)


@dataclass(slots=True)
class GateEvents(Newsworthy):
    """Events of each gate in one run: how many by arm, and the first of each arm."""

    counts: list[list[int]]
    first_at: list[list[Micros | None]]
    detail: list[list[str]]


@dataclass(frozen=True, slots=True)
class Gate:
    """All gates of an experiment: those that are always on, then the declared ones.

    names    by bit of an evidence row
    actions  command of each
    """

    names: tuple[str, ...]
    actions: tuple[Action, ...]
    kind: str = field(default="gate", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "gate"

    @classmethod
    def of(cls, experiment: Experiment) -> Gate:
        gates = experiment.gates
        return cls(tuple(choice.gate for choice in gates), tuple(Action(choice.action) for choice in gates))

    def initial(self) -> GateEvents:
        size = len(self.names)
        return GateEvents(
            [[0, 0] for _ in range(size)], [[None, None] for _ in range(size)], [["", ""] for _ in range(size)]
        )

    def fold(self, state: GateEvents, rows: Rows, moment: Moment) -> None:
        for row in indices(rows.gates).tolist():
            state.news = True
            bits, arm = int(rows.gates[row]), int(rows.arm[row])
            for gate in range(len(self.names)):
                if bits >> gate & 1:
                    self._count(state, gate, arm, int(rows.at[row]), rows.details.get(row, ""))

    def _count(self, state: GateEvents, gate: int, arm: int, at: Micros, detail: str) -> None:
        state.counts[gate][arm] += 1
        if state.first_at[gate][arm] is None:
            state.first_at[gate][arm], state.detail[gate][arm] = at, detail

    def tick(self, state: GateEvents, moment: Moment) -> None:
        """Nothing here depends on time."""

    def close_epoch(self, state: GateEvents, moment: Moment) -> None:
        """Harm does not wait for epochs."""

    def judge(self, state: GateEvents, moment: Moment) -> Iterator[Verdict]:
        for gate, name in enumerate(self.names):
            if not any(state.counts[gate]):
                yield from _no_event(self.kind, self.version, name)
                continue
            for arm, stream in ((TREATMENT, name), (CONTROL, f"{name} in control")):
                yield self._verdict(state, gate, arm, name, stream)

    def _verdict(self, state: GateEvents, gate: int, arm: int, name: str, stream: str) -> Verdict:
        counts = state.counts[gate]
        evidence = _evidence(self.kind, self.version, name, counts[arm], counts)
        if not counts[arm]:
            return Verdict(stream, Outcome.OK, Reason.NO_EVENT, evidence)
        response = Response(self.actions[gate], Severity.PAGE) if arm == TREATMENT else FREEZE
        return Verdict(stream, Outcome.BREACH, Reason.FIRST_EVENT, evidence, response, detail=state.detail[gate][arm])


@lru_cache(maxsize=1_024)
def _no_event(rule: str, version: int, gate: str) -> tuple[Verdict, ...]:
    """What is said of nearly every gate with every entry: of the treatment, and of control."""
    evidence = _evidence(rule, version, gate, 0, [0, 0])
    return tuple(Verdict(s, Outcome.OK, Reason.NO_EVENT, evidence) for s in (gate, f"{gate} in control"))


def _evidence(rule: str, version: int, gate: str, count: int, by_arm: list[int]) -> Evidence:
    return Evidence(
        rule=rule,
        rule_version=version,
        metric=gate,
        statistic="events",
        observed=float(count),
        bound=1.0,
        n_control=by_arm[CONTROL],
        n_treatment=by_arm[TREATMENT],
    )
