"""Interaction: does the treatment do something else where units are in another variant of a second experiment?

For each metric that a guardrail reads, and for the target, in each dimension `experiment:NAME` of the segments: the
effect in each variant of the other experiment less the effect in the one that was seen first, with limits that hold at
all looks. It is a signal: it orders nothing and holds nothing. All of an experiment's together have one error budget.
Source: stats/interaction.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stoploss.commands import Evidence, round_significant
from stoploss.experiment import BESIDE, CROSS, Experiment
from stoploss.rules.group_totals import GROUPS_OF_A_SEGMENT, GroupTotals
from stoploss.rules.guardrail_plan import TSTAR, GuardrailPlan
from stoploss.rules.news import Newsworthy
from stoploss.rules.reading import Reference
from stoploss.rules.rows import IntArray, Moment, Rows
from stoploss.rules.verdict import NOTHING, Outcome, Reason, Verdict
from stoploss.segments import Dimension
from stoploss.spec.guardrails import Guardrail
from stoploss.spec.guardrails import Margin as StatedMargin
from stoploss.stats.contrast import Margin
from stoploss.stats.floors import Floor, first_unmet, groups_floor, required_events, required_units, spread_floor
from stoploss.stats.interaction import ClosedPairs, Interaction, close_epoch, interaction
from stoploss.stats.utility import Estimate, estimate

KIND = "interaction"
ALPHA = 0.05
"""Of all interactions of an experiment together: how likely it is that one is ever told where there is none."""


@dataclass(slots=True)
class InteractionState(Newsworthy):
    """Totals of the open epoch, in a cell for each variant of the other experiment, and all closed epochs."""

    totals: GroupTotals
    closed: ClosedPairs
    reference: Reference


@dataclass(frozen=True, slots=True)
class InteractionRule:
    """
    index      among the interactions of the spec; part of the rule's key
    plan       what is read of which metric; dimension: the other experiment's variants
    alpha      error budget of all pairs of variants together
    fewest     traces that each of the four arms needs before people may read its numbers
    """

    index: int
    plan: GuardrailPlan
    dimension: str
    alpha: float
    fewest: int
    kind: str = field(default=KIND, init=False)
    version: int = field(default=1, init=False)

    @property
    def key(self) -> str:
        return f"{KIND}[{self.index}]"

    def initial(self) -> InteractionState:
        closed = ClosedPairs.none(0, GROUPS_OF_A_SEGMENT)
        return InteractionState(GroupTotals.none(self.dimension), closed, self.plan.reading.begin())

    def fold(self, state: InteractionState, rows: Rows, moment: Moment) -> None:
        """Segments are folded with the tick. What a reading freezes is taken from the rows as they come."""
        due = self.dimension in moment.due
        if not due and not self.plan.reading.frozen:
            return
        read = self.plan.reading.read(state.reference, rows, moment)
        if not due:
            return
        dimension = moment.dimensions[self.dimension]
        state.totals.make_room(dimension.used)
        if read is not None:
            state.totals.fold(read, dimension, self.plan.column, events=self.plan.binary)

    def tick(self, state: InteractionState, moment: Moment) -> None:
        """Nothing is counted in seconds here."""

    def close_epoch(self, state: InteractionState, moment: Moment) -> None:
        state.closed = close_epoch(state.closed, state.totals.n, state.totals.total)
        state.totals.close_epoch(Margin())

    def judge(self, state: InteractionState, moment: Moment) -> Iterator[Verdict]:
        if self.dimension not in moment.due:
            return
        dimension = moment.dimensions[self.dimension]
        cells = min(state.totals.cells, dimension.used)
        if cells < 2:
            return
        combined = close_epoch(state.closed, state.totals.n, state.totals.total)
        unfrozen, words = self.plan.reading.floor(state.reference), self.plan.reading.words(state.reference)
        for pair in range(cells - 1):
            yield self._verdict(state, dimension, pair, interaction(combined, pair), unfrozen, words)

    def _verdict(
        self,
        state: InteractionState,
        dimension: Dimension,
        pair: int,
        found: Interaction | None,
        unfrozen: Floor | None,
        words: str,
    ) -> Verdict:
        alpha = self.alpha_of(pair)
        judged = None if found is None else estimate(found.term, alpha=alpha, tstar=TSTAR)
        floor = unfrozen or first_unmet(tuple(self._floors(state.totals, pair, found, alpha)))
        numbers = {} if floor or not found or not judged else self._numbers(found, judged)
        told = self._evidence(state.totals, dimension, pair, alpha, numbers)
        if judged is None or floor is not None:
            reason = Reason.NO_CONTRAST if judged is None else Reason.BELOW_FLOOR
            return Verdict(str(told.segment), Outcome.UNDECIDED, reason, told, NOTHING, floor, words)
        differs = max(judged.log_e_above, judged.log_e_below) >= -math.log(alpha)
        outcome, reason = (
            (Outcome.DIFFERS, Reason.EFFECTS_DIFFER) if differs else (Outcome.UNDECIDED, Reason.EVIDENCE_BETWEEN)
        )
        return Verdict(str(told.segment), outcome, reason, told, NOTHING, None, words)

    def alpha_of(self, pair: int) -> float:
        """Error of each side of the interval: variants that are seen later have less, and all together the whole."""
        return self.alpha / ((pair + 1) * (pair + 2)) / 2

    def _floors(self, totals: GroupTotals, pair: int, found: Interaction | None, alpha: float) -> Iterator[Floor]:
        """What must be there before anything is said. Of a rate: events that each arm would have at the common rate."""
        units = _of_pair(totals.units.counts(), pair)
        yield Floor("traces in the smallest of the four arms", int(_of_pair(totals.shown_n, pair).min()), self.fewest)
        yield Floor("units in the smallest of the four arms", int(units.min()), required_units(alpha))
        if self.plan.binary:
            events = np.minimum(_of_pair(totals.events.counts(), pair), units)
            expected = int(units.min()) * int(events.sum()) / max(1, int(units.sum()))
            yield Floor(
                "expected units with an event in the smallest of the four arms", expected, required_events(alpha)
            )
        if found is not None:
            yield groups_floor(found.term.n_eff)
            yield spread_floor(found.spread, found.term.n_eff)

    def _evidence(
        self, totals: GroupTotals, dimension: Dimension, pair: int, alpha: float, numbers: dict[str, Any]
    ) -> Evidence:
        first, other = dimension.segment(0), dimension.segment(pair + 1)
        shown, units = totals.shown_n.sum(axis=0), totals.units.counts().sum(axis=0)
        return Evidence(
            rule=self.kind,
            rule_version=self.version,
            metric=self.plan.metric,
            segment=other,
            statistic=f"{'relative effect' if self.plan.log else 'effect'} less that for {first}",
            bound=round_significant(-math.log(alpha)),
            n_control=int(shown[0]),
            n_treatment=int(shown[pair + 1]),
            units_control=int(units[0]),
            units_treatment=int(units[pair + 1]),
            **numbers,
        )

    def _numbers(self, found: Interaction, judged: Estimate) -> dict[str, Any]:
        """control, treatment: the effect in the variant seen first and in the other; estimate: how they differ."""
        return {
            "observed": round_significant(max(judged.log_e_above, judged.log_e_below)),
            "control": self._effect(found.first),
            "treatment": self._effect(found.other),
            "estimate": self._effect(found.term.difference),
            "lower": self._effect(judged.lower),
            "upper": self._effect(judged.upper),
        }

    def _effect(self, difference: float) -> float | None:
        """Treatment less control in the metric's unit; of a logarithm, the relative change."""
        if not math.isfinite(difference):
            return None
        value = difference / self.plan.scale
        if not self.plan.log:
            return round_significant(value)
        return round_significant(math.expm1(value)) if value < 700 else None


def interactions_of(experiment: Experiment) -> Iterator[InteractionRule]:
    """One for each metric that is held and each other experiment whose variants are a dimension."""
    beside = [name for name in experiment.spec.segments if name.startswith(BESIDE) and CROSS not in name]
    if not beside:
        return
    plans = [GuardrailPlan.of(experiment, *pair) for pair in enumerate(experiment.spec.guardrails)]
    target = experiment.spec.success.metric
    if target not in {plan.metric for plan in plans}:
        read = Guardrail(metric=target, direction="higher", margin=StatedMargin(absolute=0.0))
        plans.append(GuardrailPlan.of(experiment, len(plans), read))
    pairs = [(plan, dimension) for dimension in beside for plan in plans]
    for index, (plan, dimension) in enumerate(pairs):
        yield InteractionRule(index, plan, dimension, ALPHA / len(pairs), experiment.spec.privacy.minimum_cell)


def _of_pair(counts: IntArray, pair: int) -> IntArray:
    """Of (2, cells): both arms in cell 0 and in the pair's other cell."""
    return counts[:, [0, pair + 1]]
