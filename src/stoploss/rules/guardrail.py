"""Guardrail on a continuous metric: asymptotic confidence sequence on the contrast, robust by randomisation unit.

Breach: the treatment is worse than control by more than the margin, at error alpha over the whole run however often it
is looked at. Safe: it is not. Otherwise undecided, with both numbers. Source: stats/contrast.py and stats/floors.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from stoploss.commands import Evidence, round_significant
from stoploss.rules.cell_looks import ROOM, CellLook, Looker, Looking, Looks, Seen, Sureness, sureness
from stoploss.rules.group_totals import GroupTotals, rows_until_a_look, worth_a_look
from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.rules.news import Newsworthy
from stoploss.rules.reading import Reference
from stoploss.rules.rows import CONTROL, TREATMENT, Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Verdict
from stoploss.segments import EVERYBODY
from stoploss.stats.contrast import Contrast, NoContrast
from stoploss.stats.floors import (
    LEAST_UNITS,
    MINIMUM_EFFECTIVE_GROUPS,
    MOST_UNITS,
    Floor,
    continuous_floors,
    first_unmet,
    spread_floor,
)


@dataclass(slots=True)
class GuardrailState(Newsworthy):
    """Totals by dimension, of what is read with the reference; last: what was looked at last."""

    dimensions: dict[str, GroupTotals]
    reference: Reference
    last: Looks = field(default_factory=Looks, metadata={"transient": True})


@dataclass(frozen=True, slots=True)
class ContinuousGuardrail:
    plan: GuardrailPlan
    kind: str = field(default="guardrail", init=False)
    version: int = field(default=3, init=False)

    @property
    def key(self) -> str:
        return f"guardrail[{self.plan.index}]"

    def initial(self) -> GuardrailState:
        totals = {name: GroupTotals.none(name) for name in self.plan.dimensions}
        return GuardrailState(totals, self.plan.reading.begin())

    def fold(self, state: GuardrailState, rows: Rows, moment: Moment) -> None:
        read = self.plan.reading.read(state.reference, rows, moment)
        before = state.dimensions[EVERYBODY].rows
        for name in moment.due:
            if name in state.dimensions and read is not None:
                state.dimensions[name].fold(read, moment.dimensions[name], self.plan.column)
        if EVERYBODY in moment.due:
            state.news = worth_a_look(before, state.dimensions[EVERYBODY].rows)

    def can_wait(self, state: GuardrailState) -> int:
        return rows_until_a_look(state.dimensions[EVERYBODY].rows)

    def tick(self, state: GuardrailState, moment: Moment) -> None:
        """Nothing is counted in seconds here."""

    def close_epoch(self, state: GuardrailState, moment: Moment) -> None:
        for totals in state.dimensions.values():
            totals.close_epoch(self.plan.margin)

    def looking(self, state: GuardrailState) -> Looking:
        return Looking(Looker(self.plan, _sure), state.dimensions, state.last)

    def judge(self, state: GuardrailState, moment: Moment) -> Iterator[Verdict]:
        unfrozen, words = self.plan.reading.floor(state.reference), self.plan.reading.words(state.reference)
        for one in self.looking(state).looker.looks(state.dimensions, moment, state.last):
            outcome, reason, floor = _judged(one)
            told = partial(contrast_evidence, self.kind, self.version, self.plan, one, safe=outcome == Outcome.SAFE)
            response = self.plan.response(one.segment)
            yield Verdict(one.stream, outcome, reason, told, response, unfrozen or floor, words)


def _sure(seen: Seen) -> Sureness:
    """What _judged says of each cell for certain."""
    screen, fewest = seen.screen, seen.units.min(axis=0)
    enough = seen.grounded & (fewest >= MOST_UNITS)
    below = screen.there & ((fewest < LEAST_UNITS) | (ROOM * screen.n_eff < MINIMUM_EFFECTIVE_GROUPS))
    return sureness(between=seen.silent & enough, safe=screen.safe & enough, below=below)


def _judged(one: CellLook) -> tuple[Outcome, Reason, Floor | None]:
    """What the contrast says, and what is missing where it is undecided."""
    if one.silent:
        floor = _units_floor(one)
        return Outcome.UNDECIDED, Reason.BELOW_FLOOR if floor else Reason.EVIDENCE_BETWEEN, floor
    contrast = one.contrast
    if isinstance(contrast, NoContrast):
        return Outcome.UNDECIDED, Reason.NO_CONTRAST, first_unmet(_floors(one, 1.0))
    floor = first_unmet((*_floors(one, contrast.n_eff), spread_floor(contrast.spread, contrast.n_eff)))
    outcome, reason = decide(contrast, harm_floor=floor, safe_floor=floor)
    return outcome, reason, floor if outcome == Outcome.UNDECIDED else None


def _floors(one: CellLook, n_eff: float) -> tuple[Floor, ...]:
    control, treatment = one.units
    return continuous_floors(n_eff=n_eff, units_control=control, units_treatment=treatment, alpha=one.alpha)


def _units_floor(one: CellLook) -> Floor | None:
    """The floor on units that is not met, of a cell that has groups enough."""
    return None if min(one.units) >= MOST_UNITS else first_unmet(_floors(one, MINIMUM_EFFECTIVE_GROUPS))


def decide(contrast: Contrast, *, harm_floor: Floor | None, safe_floor: Floor | None) -> tuple[Outcome, Reason]:
    """Harm and safety are different questions, each with its own floor (None: it is met)."""
    if harm_floor is None and contrast.breaches:
        return Outcome.BREACH, Reason.EVIDENCE_ABOVE_LIMIT
    if safe_floor is None and contrast.is_safe:
        return Outcome.SAFE, Reason.EVIDENCE_OF_SAFETY
    below = harm_floor is not None and safe_floor is not None
    return Outcome.UNDECIDED, Reason.BELOW_FLOOR if below else Reason.EVIDENCE_BETWEEN


Compared = tuple[str, float | None, float | None]


def contrast_evidence(
    rule: str, version: int, plan: GuardrailPlan, one: CellLook, safe: bool = False, instead: Compared | None = None
) -> Evidence:
    """Both numbers compared, on the margin's own scale, and the arms they come from.

    safe     they speak of safety
    instead  statistic, number and limit of another stream, to stand in the place of the contrast's
    """
    totals, cell, contrast = one.totals, one.cell, one.contrast
    control, treatment = totals.mean(CONTROL, cell), totals.mean(TREATMENT, cell)
    lower = upper = estimate = None
    if isinstance(contrast, Contrast):
        below, above = (plan.effect(end, control) for end in contrast.limits())
        lower, upper = (below, above) if plan.worse == "higher" else (above, below)
        estimate = plan.effect(contrast.difference, control)
    statistic, log_e, limit = instead or _compared(contrast, safe)
    return Evidence(
        rule=rule,
        rule_version=version,
        metric=plan.metric,
        segment=one.segment,
        statistic=statistic,
        observed=round_significant(log_e),
        bound=round_significant(limit),
        control=round_significant(plan.arm_value(control)),
        treatment=round_significant(plan.arm_value(treatment)),
        estimate=round_significant(estimate),
        lower=round_significant(lower),
        upper=round_significant(upper),
        margin=plan.relative if plan.relative is not None else plan.absolute,
        n_control=int(totals.shown_n[CONTROL, cell]),
        n_treatment=int(totals.shown_n[TREATMENT, cell]),
        units_control=one.units[CONTROL],
        units_treatment=one.units[TREATMENT],
    )


def _compared(contrast: Contrast | NoContrast, safe: bool) -> Compared:
    """What the contrast's own evidence is called, the evidence, and its limit."""
    statistic = "log e of safety" if safe else "log e of harm"
    if isinstance(contrast, NoContrast):
        return statistic, None, None
    return statistic, contrast.log_e_safe if safe else contrast.log_e_harm, contrast.limit
