"""Silence: an arm that should be heard sends nothing, although everything sent was read.

Counted in ticks seen while the sources were caught up, never in differences of clock readings: a broker that was frozen
for ten minutes makes nobody silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from stoploss.commands import Action, Evidence
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import CONTROL, TREATMENT, Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict
from stoploss.spec.health import Silence

ARMS = {CONTROL: "control", TREATMENT: "treatment"}


@dataclass(slots=True)
class SilenceState(Newsworthy):
    """Ticks since each arm's last trace."""

    ticks: list[int]


@dataclass(frozen=True, slots=True)
class SilenceRule:
    after_s: int
    response: Response
    kind: str = field(default="silence", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "silence"

    @classmethod
    def of(cls, silence: Silence) -> SilenceRule:
        action = None if silence.do == "hold" else Action(silence.do)
        return cls(silence.after, Response(action, Severity.PAGE, hold=True))

    def initial(self) -> SilenceState:
        return SilenceState([0, 0])

    def fold(self, state: SilenceState, rows: Rows, moment: Moment) -> None:
        if not rows.exposure:
            return
        for arm in ARMS:
            if state.ticks[arm] and (rows.arm == arm).any():
                state.ticks[arm], state.news = 0, True

    def tick(self, state: SilenceState, moment: Moment) -> None:
        if not (moment.caught_up and moment.exposed) or moment.share is None:
            return
        state.ticks[TREATMENT] += 1
        if moment.share < 1:
            state.ticks[CONTROL] += 1

    def close_epoch(self, state: SilenceState, moment: Moment) -> None:
        state.ticks, state.news = [0, 0], True

    def judge(self, state: SilenceState, moment: Moment) -> Iterator[Verdict]:
        for arm, name in ARMS.items():
            silent = state.ticks[arm] >= self.after_s
            evidence = partial(self._evidence, name, float(state.ticks[arm]) if silent else None)
            if silent:
                yield Verdict(name, Outcome.BREACH, Reason.SILENT, evidence, self.response)
            else:
                yield Verdict(name, Outcome.OK, Reason.HEARD, evidence)

    def _evidence(self, name: str, observed: float | None) -> Evidence:
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric="traces",
            statistic=f"seconds without a trace of the {name} arm",
            observed=observed,
            bound=float(self.after_s),
        )
