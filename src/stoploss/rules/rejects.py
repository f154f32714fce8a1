"""Rejects: does intake refuse traces of one arm more often than of the other? Then what is left tells of neither.

Rejected and counted traces of each arm are compared by the relative-risk e-process, minute by minute
(stats/relative_risk.py), in either direction. Rejects come in bursts, of one broken client for instance, so the
evidence is tempered by how much they vary from minute to minute beyond chance: L ** (1 / d), d = variance / mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stoploss.commands import Action, Evidence, round_significant
from stoploss.experiment import Experiment
from stoploss.ledger import AckOverdue, AckReceived, SourceStatus
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import CONTROL, TREATMENT, Moment, Rows
from stoploss.rules.unresolved import grown
from stoploss.rules.verdict import NOTHING, Outcome, Reason, Response, Severity, Verdict
from stoploss.stats import relative_risk
from stoploss.stats.bonferroni import log_limit
from stoploss.stats.floors import Floor

ALPHA = 0.001
LIMIT = log_limit(ALPHA, 0.5)
WINDOW_TICKS = 60
LEAST_WINDOWS = 5
LEAST_DIFFERENCE = 0.001
"""A difference of the two rates below one in a thousand changes no verdict on anything."""


@dataclass(slots=True)
class RejectsState(Newsworthy):
    """Lists of two are by arm.

    told      by source partition, what its last status said
    kept, rejected  traces of the open window; all_kept, all_rejected: of all closed windows
    more, less  evidence that the treatment loses more, or less, by alternative
    ticks     of the open window; windows: closed ones, those with a reject, and the sum of their squared rejects
    found     log evidence of either direction as of the last closed window, tempered
    """

    told: dict[str, list[int]] = field(default_factory=dict)
    kept: list[int] = field(default_factory=lambda: [0, 0])
    rejected: list[int] = field(default_factory=lambda: [0, 0])
    all_kept: list[int] = field(default_factory=lambda: [0, 0])
    all_rejected: list[int] = field(default_factory=lambda: [0, 0])
    more: list[float] = field(default_factory=lambda: [*relative_risk.NO_EVIDENCE])
    less: list[float] = field(default_factory=lambda: [*relative_risk.NO_EVIDENCE])
    ticks: int = 0
    windows: int = 0
    hit_windows: int = 0
    squares: int = 0
    found: float = 0.0

    @property
    def dispersion(self) -> float:
        """Variance over mean of the rejects of a window, at least 1: what chance alone would give."""
        total = sum(self.all_rejected)
        if self.windows < 2 or not total:
            return 1.0
        variance = (self.windows * self.squares - total * total) / (self.windows * (self.windows - 1))
        return max(1.0, variance * self.windows / total)

    def rate(self, arm: int) -> float:
        lost = self.all_rejected[arm]
        return lost / max(1, lost + self.all_kept[arm])


@dataclass(frozen=True, slots=True)
class Rejects:
    experiment: str
    arms: tuple[str, str]
    response: Response
    kind: str = field(default="rejects", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "rejects"

    @classmethod
    def of(cls, experiment: Experiment) -> Rejects:
        action = Action.PAUSE if experiment.spec.health.rejects == "pause" else None
        names = (experiment.control.name, experiment.treatment.name)
        return cls(experiment.name, names, Response(action, Severity.HOLD, hold=True))

    def initial(self) -> RejectsState:
        return RejectsState()

    def hear(self, state: RejectsState, fact: SourceStatus | AckReceived | AckOverdue, moment: Moment) -> None:
        if not isinstance(fact, SourceStatus):
            return
        counts = {c.variant: c.count for c in fact.rejected_by_variant if c.experiment == self.experiment}
        now = [counts.get(name, 0) for name in self.arms]
        source = f"{fact.source.topic}/{fact.source.partition}"
        for arm, more in enumerate(grown(state.told.get(source), now)):
            state.rejected[arm] += more
        state.told[source] = now

    def fold(self, state: RejectsState, rows: Rows, moment: Moment) -> None:
        treated = int(np.count_nonzero(rows.arm == TREATMENT))
        state.kept[TREATMENT] += treated
        state.kept[CONTROL] += rows.size - treated

    def tick(self, state: RejectsState, moment: Moment) -> None:
        """A window ends after a minute of ticks, or goes on until both arms are in it."""
        state.ticks += 1
        if state.ticks >= WINDOW_TICKS and all(state.kept):
            _close_window(state)

    def close_epoch(self, state: RejectsState, moment: Moment) -> None:
        """A window is of one split: what is open is dropped."""
        state.kept, state.rejected, state.ticks = [0, 0], [0, 0], 0

    def judge(self, state: RejectsState, moment: Moment) -> Iterator[Verdict]:
        evidence = partial(self._evidence, state)
        floor = Floor("minutes with a rejected trace", state.hit_windows, LEAST_WINDOWS)
        apart = abs(state.rate(TREATMENT) - state.rate(CONTROL)) >= LEAST_DIFFERENCE
        if state.found < LIMIT or not apart:
            yield Verdict("rejects", Outcome.OK, Reason.STEADY, evidence)
        elif not floor.met:
            yield Verdict("rejects", Outcome.UNDECIDED, Reason.BELOW_FLOOR, evidence, NOTHING, floor)
        else:
            yield Verdict("rejects", Outcome.BREACH, Reason.REJECTS_DIFFER, evidence, self.response)

    def _evidence(self, state: RejectsState) -> Evidence:
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric="rejected traces",
            statistic="log e of unequal rates of rejects",
            observed=round_significant(state.found),
            bound=round_significant(LIMIT),
            control=round_significant(state.rate(CONTROL)),
            treatment=round_significant(state.rate(TREATMENT)),
            n_control=state.all_rejected[CONTROL],
            n_treatment=state.all_rejected[TREATMENT],
        )


def tempered(logs: list[float], dispersion: float) -> list[float]:
    """L ** (1 / d) of each alternative: what bursts of alike rejects leave of the evidence."""
    return [value / dispersion for value in logs]


def _close_window(state: RejectsState) -> None:
    n_c, n_t = (kept + lost for kept, lost in zip(state.kept, state.rejected, strict=True))
    x_c, x_t = state.rejected
    more = relative_risk.log_increment(n_c, x_c, n_t, x_t, rr0=1.0)
    less = relative_risk.safe_log_increment(n_c, x_c, n_t, x_t, rr0=1.0)
    state.more = [*relative_risk.accumulate(state.more, more)]
    state.less = [*relative_risk.accumulate(state.less, less)]
    state.windows += 1
    state.hit_windows += bool(x_c + x_t)
    state.squares += (x_c + x_t) ** 2
    for arm in (CONTROL, TREATMENT):
        state.all_kept[arm] += state.kept[arm]
        state.all_rejected[arm] += state.rejected[arm]
    sides = [tempered(side, state.dispersion) for side in (state.more, state.less)]
    state.found = max(map(relative_risk.log_e, sides))
    state.kept, state.rejected, state.ticks = [0, 0], [0, 0], 0
