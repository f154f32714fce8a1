"""What the objective says: the sum and each of its terms with their limits, and the prices at which it would flip."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from stoploss.commands import Evidence, round_significant
from stoploss.rules.guardrail_plan import TSTAR
from stoploss.rules.objective_plan import RISK_SCALE, ObjectivePlan
from stoploss.rules.objective_reference import REFERENCE_JUDGED, REFERENCE_UNITS, Reference
from stoploss.rules.objective_totals import RunTotals
from stoploss.rules.rows import CONTROL, TREATMENT
from stoploss.rules.verdict import Outcome, Reason, Verdict
from stoploss.stats.floors import Floor, continuous_floors, first_unmet
from stoploss.stats.one_rate import rate_limits
from stoploss.stats.utility import (
    Estimate,
    Flip,
    Objective,
    RiskUnits,
    Term,
    Utility,
    delta_u,
    flip_lambda_cost,
    flip_lambda_risk,
    judged_units_floors,
    rare_risk_limits,
    risk_is_rare,
)

UTILITY = "utility"


@dataclass(frozen=True, slots=True)
class Weighed:
    """Everything that is known of the sum.

    quality, cost, risk  differences of the arms; risk is None where the spec lists no event, or weighs none
    limits               of the sum, each at error alpha; those of `utility.total` unless harm events are rare
    """

    objective: Objective
    quality: Term
    cost: Term
    risk: Term | None
    utility: Utility
    limits: tuple[float, float]
    rare: bool


def verdicts(rule: str, version: int, plan: ObjectivePlan, reference: Reference, run: RunTotals) -> Iterator[Verdict]:
    """The sum first; its terms and flips once the sum can be told."""
    blank = Evidence(rule, version, metric=UTILITY, margin=plan.indifference)
    if not reference.frozen:
        yield Verdict(UTILITY, Outcome.UNDECIDED, Reason.BELOW_FLOOR, blank, floor=_reference_floor(reference))
        return
    if (why := _unusable(plan, reference)) is not None:
        yield Verdict(UTILITY, Outcome.UNDECIDED, Reason.NO_REFERENCE, blank, detail=why)
        return
    blank = _counted(blank, run)
    weighed = _weighed(plan, reference, run)
    if weighed is None:
        yield Verdict(UTILITY, Outcome.UNDECIDED, Reason.NO_CONTRAST, blank, floor=_floor(plan, run, None))
        return
    yield _sum(plan, run, weighed, blank)
    yield from _terms(plan, run, weighed, blank)
    yield from _flips(plan, weighed, blank)


# ---- what is weighed -----------------------------------------------------------------------------


def _unusable(plan: ObjectivePlan, reference: Reference) -> str | None:
    """Why the frozen means cannot be a measure, or None."""
    if not (reference.quality or 0.0) > 0:
        mean = (reference.quality or 0.0) / plan.quality_scale
        return f"control's mean {plan.quality} is {mean:.4g}; a share of what is not above 0 has no meaning"
    if plan.lambda_cost and not (reference.cost or 0.0) > 0:
        return "control's requests cost nothing, or do not say what they cost; a share of that has no meaning"
    return None


def _weighed(plan: ObjectivePlan, reference: Reference, run: RunTotals) -> Weighed | None:
    """None while a term that weighs has no contrast."""
    quality, cost = run.term("quality"), run.term("cost")
    risk = run.term("risk") if plan.events and plan.lambda_risk else None
    if quality is None or (cost is None and plan.lambda_cost) or (risk is None and plan.lambda_risk):
        return None
    objective = Objective(
        quality_0=reference.quality or 1.0,
        cost_0=max(reference.cost or 0.0, 0.0) or 1.0,
        lambda_cost=plan.lambda_cost,
        lambda_risk=plan.lambda_risk,
        risk_0=RISK_SCALE,
    )
    paid = cost or replace(quality, difference=0.0, influence=np.zeros_like(quality.influence))
    utility = delta_u(quality, paid, risk, objective, alpha=plan.alpha, tstar=TSTAR)
    rare = risk is not None and risk_is_rare(*run.event_units("risk"))
    limits = _rare_limits(plan, run, quality, paid, objective) if rare else (utility.total.lower, utility.total.upper)
    return Weighed(objective, quality, paid, risk, utility, limits, rare)


def _rare_limits(
    plan: ObjectivePlan, run: RunTotals, quality: Term, cost: Term, objective: Objective
) -> tuple[float, float]:
    control, treatment = (RiskUnits(*run.first(arm)) for arm in (CONTROL, TREATMENT))
    return rare_risk_limits(
        quality, cost, objective, control=control, treatment=treatment, worst=plan.worst, alpha=plan.alpha, tstar=TSTAR
    )


# ---- floors --------------------------------------------------------------------------------------


def _reference_floor(reference: Reference) -> Floor:
    if len(reference.units) < REFERENCE_UNITS:
        return Floor("control units that quality and cost are measured against", len(reference.units), REFERENCE_UNITS)
    return Floor("judged control units that quality is measured against", len(reference.judged), REFERENCE_JUDGED)


def _floor(plan: ObjectivePlan, run: RunTotals, weighed: Weighed | None) -> Floor | None:
    """The first floor that is not met: units, groups of units, judged units."""
    control, treatment = run.units("risk")
    n_eff = 1.0
    if weighed is not None:
        priced = [weighed.cost] if plan.lambda_cost else []
        priced += [weighed.risk] if weighed.risk is not None and not weighed.rare else []
        n_eff = min(part.n_eff for part in (weighed.quality, *priced))
    exposed = continuous_floors(n_eff=n_eff, units_control=control, units_treatment=treatment, alpha=plan.alpha)
    return first_unmet((*exposed, *judged_units_floors(*run.units("quality"))))


# ---- verdicts ------------------------------------------------------------------------------------


def _sum(plan: ObjectivePlan, run: RunTotals, weighed: Weighed, blank: Evidence) -> Verdict:
    total, (lower, upper) = weighed.utility.total, weighed.limits
    floor = _floor(plan, run, weighed)
    outcome, reason = (Outcome.UNDECIDED, Reason.BELOW_FLOOR) if floor else _decided(lower, upper, plan.indifference)
    evidence = _compared(plan, weighed, _limited(blank, UTILITY, replace(total, lower=lower, upper=upper)))
    return Verdict(UTILITY, outcome, reason, evidence, floor=floor)


def _decided(lower: float, upper: float, indifference: float) -> tuple[Outcome, Reason]:
    if lower > 0:
        return Outcome.BETTER, Reason.UTILITY_ABOVE_ZERO
    if upper < 0:
        return Outcome.WORSE, Reason.UTILITY_BELOW_ZERO
    if -indifference < lower and upper < indifference:
        return Outcome.EQUIVALENT, Reason.UTILITY_WITHIN_INDIFFERENCE
    return Outcome.UNDECIDED, Reason.EVIDENCE_BETWEEN


def _compared(plan: ObjectivePlan, weighed: Weighed, evidence: Evidence) -> Evidence:
    """Both numbers compared: evidence and its limit, or, where harm events are rare, the limit of the sum and 0."""
    total, gain = weighed.utility.total, weighed.utility.total.value >= 0
    if weighed.rare:
        end = weighed.limits[0 if gain else 1]
        statistic = "limit at the highest risk that the data allow"
        return replace(evidence, statistic=statistic, observed=_finite(end), bound=0.0)
    log_e = total.log_e_above if gain else total.log_e_below
    statistic = f"log e of a {'gain' if gain else 'loss'}"
    return replace(evidence, statistic=statistic, observed=_finite(log_e), bound=_finite(-math.log(plan.alpha)))


def _terms(plan: ObjectivePlan, run: RunTotals, weighed: Weighed, blank: Evidence) -> Iterator[Verdict]:
    """Each term as it enters the sum, so that above 0 speaks for the treatment; the arms in their own units."""
    utility, scales = weighed.utility, {"quality": plan.quality_scale, "cost": plan.cost_scale, "risk": RISK_SCALE}
    for name, term in (("quality", utility.quality), ("cost", utility.cost), ("risk", utility.risk)):
        if term is None:
            continue
        shown = _at_worst(plan, run, term) if name == "risk" and weighed.rare else term
        control, treatment = (None if mean is None else mean / scales[name] for mean in run.means(name))
        n_control, n_treatment = run.rows(name)
        evidence = replace(
            _limited(blank, name, shown),
            margin=None,
            control=round_significant(control),
            treatment=round_significant(treatment),
            n_control=n_control,
            n_treatment=n_treatment,
        )
        yield Verdict(name, Outcome.OK, Reason.PART_OF_UTILITY, evidence)


def _at_worst(plan: ObjectivePlan, run: RunTotals, term: Estimate) -> Estimate:
    """The risk term while harm events are rare: one arm at its highest rate, the other at 0."""
    price = plan.lambda_risk * plan.worst
    control, treatment = (rate_limits(x, n, plan.alpha / 2)[1] for n, x in map(run.first, (CONTROL, TREATMENT)))
    return replace(term, lower=-price * treatment, upper=price * control)


def _flips(plan: ObjectivePlan, weighed: Weighed, blank: Evidence) -> Iterator[Verdict]:
    """The prices between which the sum is not known to be above or below 0; while harm is rare, risk is left out."""
    objective, quality, cost = weighed.objective, weighed.quality, weighed.cost
    risk = None if weighed.rare else weighed.risk
    if cost.influence.any():
        flip = flip_lambda_cost(quality, cost, risk, objective, alpha=plan.alpha, tstar=TSTAR)
        yield _flip("lambda_cost", plan.lambda_cost, flip, blank)
    if risk is not None:
        flip = flip_lambda_risk(quality, cost, risk, objective, alpha=plan.alpha, tstar=TSTAR)
        yield _flip("lambda_risk", plan.lambda_risk, flip, blank)


def _flip(name: str, price: float, flip: Flip | None, blank: Evidence) -> Verdict:
    reason = Reason.FLIPS if flip else Reason.NEVER_FLIPS
    evidence = replace(blank, metric=name, margin=None, statistic="price in the spec", observed=price)
    if flip is not None:
        evidence = replace(
            evidence, estimate=_finite(flip.estimate), lower=_finite(flip.lower), upper=_finite(flip.upper)
        )
    return Verdict(name, Outcome.OK, reason, evidence)


# ---- numbers -------------------------------------------------------------------------------------


def _counted(blank: Evidence, run: RunTotals) -> Evidence:
    """Traces and units that were exposed, whether they were judged or not."""
    (n_control, n_treatment), (control, treatment) = run.rows("risk"), run.units("risk")
    return replace(
        blank, n_control=n_control, n_treatment=n_treatment, units_control=control, units_treatment=treatment
    )


def _limited(blank: Evidence, name: str, found: Estimate) -> Evidence:
    return replace(
        blank, metric=name, estimate=_finite(found.value), lower=_finite(found.lower), upper=_finite(found.upper)
    )


def _finite(value: float) -> float | None:
    """None: no limit."""
    return round_significant(value) if math.isfinite(value) else None
