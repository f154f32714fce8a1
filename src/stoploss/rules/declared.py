"""Declared = observed: in each arm, are units served by what the variant declares, but for a small share?

Units are counted, not traces, for misrouting strikes users: each by its first trace in the experiment, and once more
by its first trace in each hour of ledger time, since what drifts in the middle of a run strikes users who came long
before. The run has half of the error budget, and its hours the other: hour j a part of 1/(j(j + 1)).
Source: stats/one_rate.py; stats/bonferroni.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stoploss.arrays import indices
from stoploss.commands import Action, Evidence, round_significant
from stoploss.experiment import SERVED_INSTEAD
from stoploss.metrics import MISSING, UNDECLARED_SERVING
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import CONTROL, TREATMENT, Mask, Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Response, Severity, Verdict
from stoploss.segments import CAPACITY, NO_CELL, Dimension
from stoploss.spec.health import DeclaredServing
from stoploss.stats.bonferroni import late_weight, log_limit
from stoploss.stats.one_rate import log_e_above
from stoploss.units import occurrence_rank

ALPHA = 0.001
ARMS = {CONTROL: "control", TREATMENT: "treatment"}
HOUR_MICROS = 3_600_000_000
HOUR_SLOTS = 1 << 16

IntArray = npt.NDArray[np.int64]


@dataclass(slots=True)
class DeclaredState(Newsworthy):
    """By arm, units with something to compare and those of them that were served otherwise: (2, 2) int64 each.

    seen     units of this hour, by bits of their hash; units that share a slot count once, in either arm alike
    instead  (2, CAPACITY + 1) int64: traces by arm and by what served them instead
    """

    run: IntArray = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    hour: IntArray = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    seen: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(HOUR_SLOTS, np.bool_))
    hours: int = 0
    began: int = -1
    instead: IntArray = field(default_factory=lambda: np.zeros((2, CAPACITY + 1), np.int64))


@dataclass(frozen=True, slots=True)
class Declared:
    """most: the share of units that may be served otherwise, in (0, 1)."""

    most: float
    response: Response
    kind: str = field(default="declared", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return "declared"

    @classmethod
    def of(cls, serving: DeclaredServing) -> Declared:
        action = Action.PAUSE if serving.do == "pause" else None
        return cls(serving.max, Response(action, Severity.HOLD, hold=True))

    def initial(self) -> DeclaredState:
        return DeclaredState()

    def fold(self, state: DeclaredState, rows: Rows, moment: Moment) -> None:
        served = rows.metrics.get(UNDECLARED_SERVING)
        if not rows.exposure or served is None:
            return
        self._enter_hour(state, moment)
        shown = served != MISSING
        _count(state.run, rows, shown & rows.first, served)
        _count(state.hour, rows, _first_in_hour(state.seen, rows, shown), served)
        cells = rows.cells[SERVED_INSTEAD]
        named = (served == 1) & (cells != NO_CELL)
        np.add.at(state.instead, (rows.arm[named], cells[named]), 1)
        state.news = state.news or bool((served == 1).any())

    def _enter_hour(self, state: DeclaredState, moment: Moment) -> None:
        if (hour := moment.at // HOUR_MICROS) != state.began:
            state.began, state.hours = hour, state.hours + 1
            state.hour, state.seen = np.zeros((2, 2), np.int64), np.zeros(HOUR_SLOTS, np.bool_)

    def tick(self, state: DeclaredState, moment: Moment) -> None:
        """Hours begin with the rows that come in them."""

    def close_epoch(self, state: DeclaredState, moment: Moment) -> None:
        """What serves an arm has nothing to do with its share of the traffic."""

    def judge(self, state: DeclaredState, moment: Moment) -> Iterator[Verdict]:
        for arm, name in ARMS.items():
            run = Stream(self, arm, 0.5 / len(ARMS), *_pairs(state.run))
            hour = Stream(self, arm, late_weight(max(1, state.hours)) / len(ARMS), *_pairs(state.hour))
            above = [stream for stream in (run, hour) if stream.is_above and stream.log_e >= stream.bound]
            if above:
                worst = max(above, key=lambda stream: stream.log_e - stream.bound)
                seen = _seen(state.instead[arm], moment.dimensions[SERVED_INSTEAD])
                yield Verdict(name, Outcome.BREACH, Reason.SERVED_OTHERWISE, worst(), self.response, detail=seen)
            else:
                yield Verdict(name, Outcome.OK, Reason.SERVED_AS_DECLARED, run)


@dataclass(frozen=True, slots=True)
class Stream:
    """The counts of a run or of an hour, and what they say of one arm; called, the evidence.

    weight     part of the error budget
    units      of control and treatment with something to compare
    otherwise  those of them that were served otherwise
    """

    rule: Declared
    arm: int
    weight: float
    units: tuple[int, int]
    otherwise: tuple[int, int]

    @property
    def is_above(self) -> bool:
        """Whether the rate lies above the limit: without that there is no evidence, and nothing to compute."""
        return self.otherwise[self.arm] > self.rule.most * self.units[self.arm]

    @property
    def log_e(self) -> float:
        return log_e_above(self.otherwise[self.arm], self.units[self.arm], self.rule.most)

    @property
    def bound(self) -> float:
        return log_limit(ALPHA, self.weight)

    def __call__(self) -> Evidence:
        rates = [bad / units if units else None for bad, units in zip(self.otherwise, self.units, strict=True)]
        return Evidence(
            rule=self.rule.kind,
            rule_version=self.rule.version,
            metric=UNDECLARED_SERVING,
            statistic="log e of a rate above the limit",
            observed=round_significant(self.log_e),
            bound=round_significant(self.bound),
            control=round_significant(rates[CONTROL]),
            treatment=round_significant(rates[TREATMENT]),
            margin=self.rule.most,
            units_control=self.units[CONTROL],
            units_treatment=self.units[TREATMENT],
        )


def _pairs(counts: IntArray) -> list[tuple[int, int]]:
    """Units, and those served otherwise, each of control and treatment."""
    (control, bad_control), (treatment, bad_treatment) = counts.tolist()
    return [(control, treatment), (bad_control, bad_treatment)]


def _first_in_hour(seen: npt.NDArray[np.bool_], rows: Rows, shown: Mask) -> Mask:
    """Rows that are the first of their unit in this hour with something to compare; marks them."""
    slot = rows.unit.astype(np.uint16)  # the last 16 bits
    first = shown & ~seen[slot]
    fresh = indices(first)
    first[fresh] = occurrence_rank(slot[fresh]) == 0
    seen[slot[fresh]] = True
    return first


def _count(counts: IntArray, rows: Rows, chosen: Mask, served: IntArray) -> None:
    for arm in ARMS:
        mine = served[chosen & (rows.arm == arm)]
        counts[arm] += (mine.size, np.count_nonzero(mine))


def _seen(instead: IntArray, dimension: Dimension) -> str:
    """What served an arm most often instead, of what is not declared; empty where nothing did."""
    most = int(np.argmax(instead))
    segment = dimension.segment(most) if instead[most] else None
    return segment.value if segment else ""
