"""Guardrail on a continuous metric: asymptotic confidence sequence on the contrast, robust by randomisation unit.

Breach: the treatment is worse than control by more than the margin, at error alpha over the whole run however often it
is looked at. Safe: it is not. Otherwise undecided, with both numbers. Source: stats/contrast.py and stats/floors.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from stoploss.commands import Evidence, Segment, round_significant
from stoploss.rules.group_totals import GroupTotals, worth_a_look
from stoploss.rules.guardrail_plan import TSTAR, GuardrailPlan
from stoploss.rules.reading import Reference
from stoploss.rules.rows import CONTROL, TREATMENT, Moment, Rows
from stoploss.rules.verdict import Outcome, Reason, Verdict
from stoploss.segments import EVERYBODY
from stoploss.stats.contrast import Contrast, NoContrast
from stoploss.stats.floors import Floor, continuous_floors, first_unmet, spread_floor


@dataclass(slots=True)
class GuardrailState:
    """Totals by dimension, of what is read with the reference; looking: whether everybody is worth a look now."""

    dimensions: dict[str, GroupTotals]
    reference: Reference
    looking: bool = field(default=True, metadata={"transient": True})


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
            state.looking = worth_a_look(before, state.dimensions[EVERYBODY].rows)

    def tick(self, state: GuardrailState, moment: Moment) -> None:
        """Nothing is counted in seconds here."""

    def close_epoch(self, state: GuardrailState, moment: Moment) -> None:
        for totals in state.dimensions.values():
            totals.close_epoch(self.plan.margin)

    def judge(self, state: GuardrailState, moment: Moment) -> Iterator[Verdict]:
        for name in moment.due:
            if name in state.dimensions and (state.looking or moment.whole or name != EVERYBODY):
                yield from self._judge_dimension(state, moment, name)

    def _judge_dimension(self, state: GuardrailState, moment: Moment, name: str) -> Iterator[Verdict]:
        totals, dimension = state.dimensions[name], moment.dimensions[name]
        alphas = self.plan.alphas(name, min(totals.cells, dimension.used))
        units = totals.units.counts()
        found = totals.contrasts(self.plan.margin, alphas, TSTAR)
        unfrozen, words = self.plan.reading.floor(state.reference), self.plan.reading.words(state.reference)
        for cell, contrast in enumerate(found):
            if name != EVERYBODY and not totals.shown_n[:, cell].any():
                continue
            counts = (int(units[CONTROL, cell]), int(units[TREATMENT, cell]))
            segment = dimension.segment(cell)
            told = partial(
                contrast_evidence, self.kind, self.version, self.plan, totals, cell, contrast, counts, segment
            )
            verdict = self._verdict(segment, contrast, told, counts, alphas[cell])
            yield replace(verdict, floor=unfrozen or verdict.floor, detail=words)

    def _verdict(
        self,
        segment: Segment | None,
        contrast: Contrast | NoContrast,
        told: partial[Evidence],
        units: tuple[int, int],
        alpha: float,
    ) -> Verdict:
        stream = str(segment) if segment else "everybody"
        if isinstance(contrast, NoContrast):
            floor = first_unmet(
                continuous_floors(n_eff=1, units_control=units[CONTROL], units_treatment=units[TREATMENT], alpha=alpha)
            )
            return Verdict(stream, Outcome.UNDECIDED, Reason.NO_CONTRAST, told, floor=floor)
        floors = continuous_floors(
            n_eff=contrast.n_eff, units_control=units[CONTROL], units_treatment=units[TREATMENT], alpha=alpha
        )
        floor = first_unmet((*floors, spread_floor(contrast.spread, contrast.n_eff)))
        outcome, reason = decide(contrast, harm_floor=floor, safe_floor=floor)
        told = partial(told, safe=outcome == Outcome.SAFE)
        response = self.plan.response(segment)
        missing = floor if outcome == Outcome.UNDECIDED else None
        return Verdict(stream, outcome, reason, told, response, missing)


def decide(contrast: Contrast, *, harm_floor: Floor | None, safe_floor: Floor | None) -> tuple[Outcome, Reason]:
    """Harm and safety are different questions, each with its own floor (None: it is met)."""
    if harm_floor is None and contrast.breaches:
        return Outcome.BREACH, Reason.EVIDENCE_ABOVE_LIMIT
    if safe_floor is None and contrast.is_safe:
        return Outcome.SAFE, Reason.EVIDENCE_OF_SAFETY
    below = harm_floor is not None and safe_floor is not None
    return Outcome.UNDECIDED, Reason.BELOW_FLOOR if below else Reason.EVIDENCE_BETWEEN


def contrast_evidence(
    rule: str,
    version: int,
    plan: GuardrailPlan,
    totals: GroupTotals,
    cell: int,
    contrast: Contrast | NoContrast,
    units: tuple[int, int],
    segment: Segment | None,
    safe: bool = False,
) -> Evidence:
    """Both numbers compared, on the margin's own scale, and the arms they come from; safe: they speak of safety."""
    control, treatment = totals.mean(CONTROL, cell), totals.mean(TREATMENT, cell)
    lower = upper = log_e = limit = estimate = None
    if isinstance(contrast, Contrast):
        below, above = (plan.effect(end, control) for end in contrast.limits())
        lower, upper = (below, above) if plan.worse == "higher" else (above, below)
        log_e, limit = contrast.log_e_safe if safe else contrast.log_e_harm, contrast.limit
        estimate = plan.effect(contrast.difference, control)
    return Evidence(
        rule=rule,
        rule_version=version,
        metric=plan.metric,
        segment=segment,
        statistic="log e of safety" if safe else "log e of harm",
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
        units_control=units[CONTROL],
        units_treatment=units[TREATMENT],
    )
