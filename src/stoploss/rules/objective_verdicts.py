"""What the objective says: the sum and each of its terms with their limits, and the prices at which it would flip."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stoploss.commands import Evidence, round_significant
from stoploss.rules.guardrail_plan import TSTAR
from stoploss.rules.objective_plan import ObjectivePlan
from stoploss.rules.objective_reference import REFERENCE_JUDGED, REFERENCE_UNITS, Reference
from stoploss.rules.objective_totals import RunTotals, Totals, means_of, rows_of, units_of
from stoploss.rules.objective_weighing import Weighed, weighed
from stoploss.rules.verdict import Outcome, Reason, Verdict
from stoploss.stats.floors import Floor, continuous_floors, first_unmet
from stoploss.stats.utility import Estimate, Flip, flip_lambda_cost, flip_lambda_risk, judged_units_floors

UTILITY = "utility"


def verdicts(rule: str, version: int, plan: ObjectivePlan, reference: Reference, run: RunTotals) -> Iterator[Verdict]:
    """The sum first; its terms and flips once the sum can be told."""
    blank = Evidence(rule, version, metric=UTILITY, margin=plan.indifference)
    if not reference.frozen:
        yield Verdict(UTILITY, Outcome.UNDECIDED, Reason.BELOW_FLOOR, blank, floor=_reference_floor(reference))
        return
    if (why := _unusable(plan, reference)) is not None:
        yield Verdict(UTILITY, Outcome.UNDECIDED, Reason.NO_REFERENCE, blank, detail=why)
        return
    whole = run.whole()
    blank = _counted(blank, whole)
    found = weighed(plan, reference, run, whole)
    if found is None:
        yield Verdict(UTILITY, Outcome.UNDECIDED, Reason.NO_CONTRAST, blank, floor=_floor(plan, whole, n_eff=1.0))
        return
    said = _Said(plan, whole, found, blank)
    yield said.sum()
    yield from said.terms()
    yield from said.flips()


# ---- the reference -------------------------------------------------------------------------------


def _unusable(plan: ObjectivePlan, reference: Reference) -> str | None:
    """Why the frozen means cannot be a measure, or None."""
    if not (reference.quality or 0.0) > 0:
        mean = (reference.quality or 0.0) / plan.quality_scale
        return f"control's mean {plan.quality} is {mean:.4g}; a share of what is not above 0 has no meaning"
    if plan.lambda_cost and not (reference.cost or 0.0) > 0:
        return "control's requests cost nothing, or do not say what they cost; a share of that has no meaning"
    return None


def _reference_floor(reference: Reference) -> Floor:
    if len(reference.units) < REFERENCE_UNITS:
        return Floor("control units that quality and cost are measured against", len(reference.units), REFERENCE_UNITS)
    return Floor("judged control units that quality is measured against", len(reference.judged), REFERENCE_JUDGED)


# ---- the test ------------------------------------------------------------------------------------


def _floor(plan: ObjectivePlan, whole: Totals, n_eff: float) -> Floor | None:
    """The first floor that is not met: units, groups of units, judged units."""
    control, treatment = units_of(whole.exposed)
    exposed = continuous_floors(n_eff=n_eff, units_control=control, units_treatment=treatment, alpha=plan.alpha)
    return first_unmet((*exposed, *judged_units_floors(*units_of(whole.quality))))


@dataclass(frozen=True, slots=True)
class _Said:
    """Everything that the verdicts are made of; blank: evidence with traces and units counted, and no numbers yet."""

    plan: ObjectivePlan
    whole: Totals
    found: Weighed
    blank: Evidence

    def sum(self) -> Verdict:
        plan, found = self.plan, self.found
        priced = (found.settled, found.cost) if plan.lambda_cost else (found.settled,)
        floor = _floor(plan, self.whole, n_eff=min(term.n_eff for term in priced))
        decided = (Outcome.UNDECIDED, Reason.BELOW_FLOOR) if floor else _decided(*found.limits, plan.indifference)
        shown = _limited(self.blank, UTILITY, found.utility.total.value, found.limits)
        return Verdict(UTILITY, *decided, self._compared(shown), floor=floor)

    def _compared(self, evidence: Evidence) -> Evidence:
        """Both numbers compared: evidence and its limit, or, where a harm is rare, the limit of the sum and 0."""
        total = self.found.utility.total
        gain = total.value >= 0
        if self.found.rare:
            statistic, end = "limit at the highest risk that the data allow", self.found.limits[0 if gain else 1]
            return replace(evidence, statistic=statistic, observed=_finite(end), bound=0.0)
        statistic, log_e = f"log e of a {'gain' if gain else 'loss'}", total.log_e_above if gain else total.log_e_below
        return replace(
            evidence, statistic=statistic, observed=_finite(log_e), bound=_finite(-math.log(self.plan.alpha))
        )

    def terms(self) -> Iterator[Verdict]:
        """Each term as it enters the sum, so that above 0 speaks for the treatment; the arms in their own units."""
        utility, whole = self.found.utility, self.whole
        for name, term, sums, scale in (
            ("quality", utility.quality, whole.quality, self.plan.quality_scale),
            ("cost", utility.cost, whole.cost, self.plan.cost_scale),
        ):
            means = [None if mean is None else mean / scale for mean in means_of(sums, sums)]
            yield self._term(name, term, (term.lower, term.upper), means, rows_of(sums))
        if utility.risk is not None:
            yield self._term("risk", utility.risk, self.found.risk_limits, self._risks(), rows_of(whole.exposed))

    def _risks(self) -> list[float | None]:
        """Weighted harm events per trace of control and of treatment."""
        events = [means_of(harm, self.whole.exposed) for harm in self.whole.harms]
        weights = [event.weight for event in self.plan.events]
        return [_weighted_sum(weights, [means[arm] for means in events]) for arm in (0, 1)]

    def _term(
        self,
        name: str,
        term: Estimate,
        limits: tuple[float, float],
        means: list[float | None],
        rows: tuple[int, int],
    ) -> Verdict:
        evidence = replace(
            _limited(self.blank, name, term.value, limits),
            margin=None,
            control=round_significant(means[0]),
            treatment=round_significant(means[1]),
            n_control=rows[0],
            n_treatment=rows[1],
        )
        return Verdict(name, Outcome.OK, Reason.PART_OF_UTILITY, evidence)

    def flips(self) -> Iterator[Verdict]:
        """The prices between which the sum is not known to be above or below 0; rare harm is left out of them."""
        plan, found = self.plan, self.found
        if found.cost.influence.any():
            flip = flip_lambda_cost(found.settled, found.cost, None, found.objective, alpha=plan.alpha, tstar=TSTAR)
            yield self._flip("lambda_cost", plan.lambda_cost, flip)
        if found.risk is not None and not found.rare:
            parts = (found.quality, found.cost, found.risk, found.objective)
            yield self._flip("lambda_risk", plan.lambda_risk, flip_lambda_risk(*parts, alpha=plan.alpha, tstar=TSTAR))

    def _flip(self, name: str, price: float, flip: Flip | None) -> Verdict:
        evidence = replace(self.blank, metric=name, margin=None, statistic="price in the spec", observed=price)
        if flip is None:
            return Verdict(name, Outcome.OK, Reason.NEVER_FLIPS, evidence)
        evidence = _limited(evidence, name, flip.estimate, (flip.lower, flip.upper))
        return Verdict(name, Outcome.OK, Reason.FLIPS, evidence)


def _decided(lower: float, upper: float, indifference: float) -> tuple[Outcome, Reason]:
    if lower > 0:
        return Outcome.BETTER, Reason.UTILITY_ABOVE_ZERO
    if upper < 0:
        return Outcome.WORSE, Reason.UTILITY_BELOW_ZERO
    if -indifference < lower and upper < indifference:
        return Outcome.EQUIVALENT, Reason.UTILITY_WITHIN_INDIFFERENCE
    return Outcome.UNDECIDED, Reason.EVIDENCE_BETWEEN


# ---- numbers -------------------------------------------------------------------------------------


def _counted(blank: Evidence, whole: Totals) -> Evidence:
    """Traces and units that were exposed, whether they were judged or not."""
    (n_control, n_treatment), (control, treatment) = rows_of(whole.exposed), units_of(whole.exposed)
    return replace(
        blank, n_control=n_control, n_treatment=n_treatment, units_control=control, units_treatment=treatment
    )


def _limited(blank: Evidence, name: str, value: float, limits: tuple[float, float]) -> Evidence:
    return replace(blank, metric=name, estimate=_finite(value), lower=_finite(limits[0]), upper=_finite(limits[1]))


def _weighted_sum(weights: list[float], means: list[float | None]) -> float | None:
    known = [weight * mean for weight, mean in zip(weights, means, strict=True) if mean is not None]
    return math.fsum(known) if known else None


def _finite(value: float) -> float | None:
    """None: no limit."""
    return round_significant(value) if math.isfinite(value) else None
