"""Mix drift: do units come from other languages, channels or operations than before, in one arm or in both?

The first units settle which values are told apart; the rest share one category, as do units without a value, for an
attribute that is no longer sent is a shift too. Each arm's next 500 units are its reference, frozen; what comes later
is held against it (stats/same_mix.py), every 2,000 units anew. When an arm has moved, both arms are counted from there
on, and their shifts contrasted: alike, the world moved; else that arm did.
Besides, each category is held against the split as a sample ratio of its own, which sees what one arm never got.
Units' first traces are counted, not traces, for one user's are alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from stoploss.arrays import indices
from stoploss.commands import Action, Evidence, Segment, round_significant
from stoploss.experiment import Experiment
from stoploss.rules.first_units import FirstUnits
from stoploss.rules.news import Newsworthy
from stoploss.rules.rows import CONTROL, TREATMENT, IntArray, Moment, Rows
from stoploss.rules.verdict import NOTHING, Outcome, Reason, Response, Severity, Verdict
from stoploss.segments import CAPACITY, NO_CELL
from stoploss.spec.health import DriftWatch
from stoploss.stats import same_mix
from stoploss.stats.bonferroni import log_limit
from stoploss.stats.floors import Floor
from stoploss.stats.mixtures import log_mean_exp
from stoploss.stats.sample_ratio import log_e as ratio_log_e

SORTING_UNITS = 256
LEAST_SORTED = 8
CATEGORIES = 16
REFERENCE_UNITS = 500
BATCH_UNITS = 2_000
CONTRAST_UNITS = 200
ALPHA = 0.001
BATCH_ALPHA = 1e-4
MOVED_LIMIT = log_limit(BATCH_ALPHA, 0.5)
UNEVEN_LIMIT = log_limit(ALPHA, 1.0)
LEAST_MOVED = 0.05
"""Share of units that must have changed category: every mix breathes a little with the hours."""
SHIFT_Z = 4.0


@dataclass(slots=True)
class ArmMix:
    """Units of one arm by category: the frozen reference, the open batch, and those since an arm moved."""

    reference: list[int] = field(default_factory=lambda: [0] * CATEGORIES)
    later: list[int] = field(default_factory=lambda: [0] * CATEGORIES)
    since: list[int] = field(default_factory=lambda: [0] * CATEGORIES)

    def add(self, category: IntArray, moved: bool) -> None:
        """Takes units in order; the first REFERENCE_UNITS are the reference, wherever a block ends."""
        missing = REFERENCE_UNITS - sum(self.reference)
        first, rest = category[:missing], category[missing:]
        self.reference = _added(self.reference, first)
        self.later = _added(self.later, rest)
        if moved:
            self.since = _added(self.since, rest)

    def log_e(self, categories: int) -> float:
        """ln of the evidence of a shift, over the categories in use; those that nobody is in would only cost."""
        used = max(2, categories)
        return same_mix.log_e(self.reference[:used], self.later[:used]) if self.complete else 0.0

    @property
    def complete(self) -> bool:
        return sum(self.reference) >= REFERENCE_UNITS

    def shares_moved(self, counts: list[int]) -> list[float]:
        """By how much each category's share differs from the reference's."""
        n, before = max(1, sum(counts)), max(1, sum(self.reference))
        return [a / n - b / before for a, b in zip(counts, self.reference, strict=True)]


@dataclass(slots=True)
class MixState(Newsworthy):
    """sorting: units by cell until the categories are settled; categories: cells with one of their own, once settled.

    evidence  of both arms and of the ratio of categories, as of the last tick, and the category that stands out most
    """

    arms: list[ArmMix] = field(default_factory=lambda: [ArmMix(), ArmMix()])
    sorting: list[int] = field(default_factory=lambda: [0] * (CAPACITY + 1))
    sorted: int = 0
    categories: list[int] = field(default_factory=list)
    units: FirstUnits = field(default_factory=lambda: FirstUnits(CATEGORIES))
    moved: bool = False
    finding: Reason | None = None
    evidence: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    uneven: int = 0


@dataclass(frozen=True, slots=True)
class MixDrift:
    index: int
    dimension: str
    timeout_s: int
    action: Action | None
    kind: str = field(default="mix_drift", init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return f"mix_drift[{self.index}]"

    @classmethod
    def of(cls, experiment: Experiment, index: int, watch: DriftWatch) -> MixDrift:
        action = None if watch.action == "none" else Action(watch.action)
        return cls(index, str(watch.mix), experiment.spec.assignment.service_timeout, action)

    def initial(self) -> MixState:
        return MixState()

    def fold(self, state: MixState, rows: Rows, moment: Moment) -> None:
        cell = rows.cells.get(self.dimension)
        if cell is None or not rows.exposure:
            return
        counted = state.units.begin(rows, moment)
        seen = indices(rows.compared & rows.first)
        rest = seen[_sort(state, cell[seen]) :]
        if not rest.size:
            return
        category = _category_of(state)[cell]
        for arm, mix in enumerate(state.arms):
            mix.add(category[rest[rows.arm[rest] == arm]], state.moved)
        if counted is not None:
            late = np.zeros(rows.size, np.bool_)
            late[rest] = True
            state.units.add(rows, counted & late, category)

    def tick(self, state: MixState, moment: Moment) -> None:
        """Looked at by the second: how rows are cut into blocks must not matter."""
        self._hold_against_the_split(state, moment)
        of_arms = [mix.log_e(len(state.categories) + 1) for mix in state.arms]
        state.evidence[:2] = of_arms
        if state.moved:
            state.finding = state.finding or _whose(state)
        elif all(mix.complete for mix in state.arms):
            state.moved = any(_moved(mix, log_e) for mix, log_e in zip(state.arms, of_arms, strict=True))
        for mix in state.arms:
            if sum(mix.later) >= BATCH_UNITS and not state.moved:
                mix.later = [0] * CATEGORIES

    def _hold_against_the_split(self, state: MixState, moment: Moment) -> None:
        if state.units.settle(moment, self.timeout_s):
            ratios = [ratio_log_e(state.units.of(category)) for category in range(len(state.categories) + 1)]
            state.uneven, state.evidence[2] = ratios.index(max(ratios)), log_mean_exp(ratios)

    def close_epoch(self, state: MixState, moment: Moment) -> None:
        self._hold_against_the_split(state, moment)
        state.units.close_epoch()
        state.news = True

    def judge(self, state: MixState, moment: Moment) -> Iterator[Verdict]:
        yield self._of_arms(state)
        yield self._between_arms(state, moment)

    def _of_arms(self, state: MixState) -> Verdict:
        evidence = partial(self._evidence, state, "log e of another mix", max(state.evidence[:2]), MOVED_LIMIT)
        if state.finding is not None:
            mine = state.finding == Reason.VARIANT_MOVED
            response = Response(self.action if mine else None, Severity.PAGE if mine else Severity.HOLD, hold=True)
            return Verdict("arms", Outcome.BREACH, state.finding, evidence, response)
        if state.moved:
            least = min(sum(mix.since) for mix in state.arms)
            floor = Floor("units of each arm since one moved", least, CONTRAST_UNITS)
            return Verdict("arms", Outcome.UNDECIDED, Reason.OTHER_ARM_PENDING, evidence, NOTHING, floor)
        return Verdict("arms", Outcome.OK, Reason.STEADY, evidence)

    def _between_arms(self, state: MixState, moment: Moment) -> Verdict:
        found = state.evidence[2]
        evidence = partial(self._evidence, state, "log e of a value with another split", found, UNEVEN_LIMIT)
        if found < UNEVEN_LIMIT:
            return Verdict("between arms", Outcome.OK, Reason.EVIDENCE_BETWEEN, evidence)
        response = Response(self.action, Severity.PAGE, hold=True)
        detail = self._value(state, moment)
        return Verdict("between arms", Outcome.BREACH, Reason.MIX_DIFFERS, evidence, response, detail=detail)

    def _value(self, state: MixState, moment: Moment) -> str:
        """The value whose split is off the most."""
        if state.uneven >= len(state.categories):
            return f"the rarer values of {self.dimension}"
        segment: Segment | None = moment.dimensions[self.dimension].segment(state.categories[state.uneven])
        return str(segment)

    def _evidence(self, state: MixState, statistic: str, observed: float, bound: float) -> Evidence:
        control, treatment = (sum(mix.reference) + sum(mix.later) for mix in state.arms)
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=f"mix of {self.dimension}",
            statistic=statistic,
            observed=round_significant(observed),
            bound=round_significant(bound),
            units_control=control,
            units_treatment=treatment,
        )


def _added(counts: list[int], category: IntArray) -> list[int]:
    more = np.bincount(category, minlength=CATEGORIES).tolist()
    return [a + b for a, b in zip(counts, more, strict=True)]


def _sort(state: MixState, cell: IntArray) -> int:
    """How many of these units go into settling the categories; settles them with the last one."""
    taken = min(SORTING_UNITS - state.sorted, cell.size)
    if not taken:
        return 0
    valued = cell[:taken][cell[:taken] != NO_CELL]
    more = np.bincount(valued, minlength=CAPACITY + 1).tolist()
    state.sorting = [a + b for a, b in zip(state.sorting, more, strict=True)]
    state.sorted += taken
    if state.sorted == SORTING_UNITS:
        frequent = [cell for cell, count in enumerate(state.sorting) if count >= LEAST_SORTED]
        state.categories = sorted(frequent, key=lambda cell: (-state.sorting[cell], cell))[: CATEGORIES - 1]
    return taken


def _category_of(state: MixState) -> IntArray:
    """Category of each cell; the last index stands for rows without a cell."""
    table = np.full(CAPACITY + 2, len(state.categories), np.int64)
    table[state.categories] = np.arange(len(state.categories))
    return table


def _moved(mix: ArmMix, log_e: float) -> bool:
    distance = math.fsum(abs(shift) for shift in mix.shares_moved(mix.later)) / 2
    return log_e >= MOVED_LIMIT and distance >= LEAST_MOVED


def _whose(state: MixState) -> Reason | None:
    """Whose shift it was; None until both arms have seen enough since."""
    control, treatment = state.arms
    if min(sum(control.since), sum(treatment.since)) < CONTRAST_UNITS:
        return None
    of_control, of_treatment = (mix.shares_moved(mix.since) for mix in state.arms)
    apart = [
        abs(t - c) / math.sqrt(_share_variance(control, k) + _share_variance(treatment, k))
        for k, (c, t) in enumerate(zip(of_control, of_treatment, strict=True))
    ]
    if max(apart) <= SHIFT_Z:
        return Reason.WORLD_MOVED
    sizes = [math.fsum(map(abs, shifts)) for shifts in (of_control, of_treatment)]
    return Reason.VARIANT_MOVED if sizes[TREATMENT] >= sizes[CONTROL] else Reason.CONTROL_MOVED


def _share_variance(mix: ArmMix, category: int) -> float:
    """Variance of a category's shift, with one half added to each count, so that a share of 0 is not certain."""
    variance = 0.0
    for counts in (mix.reference, mix.since):
        n = sum(counts) + 1
        share = (counts[category] + 0.5) / n
        variance += share * (1 - share) / n
    return variance
