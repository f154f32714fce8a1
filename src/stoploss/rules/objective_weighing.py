"""From a run's totals to the worth of the treatment: the sum, its terms, and what rare harm leaves of its limits.

Harm events are weighed each by itself. One that few units have had yet says little of its own rate: it enters the
limits at the highest rate that the data allow, while the others enter with their contrast.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stoploss.rules.guardrail_plan import TSTAR
from stoploss.rules.objective_plan import ObjectivePlan
from stoploss.rules.objective_reference import Reference
from stoploss.rules.objective_totals import RunTotals, Totals, units_of
from stoploss.rules.rows import CONTROL, TREATMENT
from stoploss.stats.one_rate import rate_limits
from stoploss.stats.utility import (
    Estimate,
    Objective,
    RiskUnits,
    Term,
    Utility,
    combine,
    delta_u,
    estimate,
    rare_risk_limits,
    risk_is_rare,
)


@dataclass(frozen=True, slots=True)
class Weighed:
    """Everything that is known of the sum.

    quality, cost, risk  differences of the arms; risk is None where the spec lists no event
    settled  quality less the harm of common events at its price: all of the sum but cost and rare harm
    rare     events that are rare yet, by their place in the spec
    limits   of the sum, each at error alpha; risk_limits: of its risk term
    """

    objective: Objective
    quality: Term
    cost: Term
    risk: Term | None
    settled: Term
    rare: tuple[int, ...]
    utility: Utility
    limits: tuple[float, float]
    risk_limits: tuple[float, float]


def weighed(plan: ObjectivePlan, reference: Reference, run: RunTotals, whole: Totals) -> Weighed | None:
    """None while a term that weighs has no contrast."""
    quality, cost, harms = run.quality_term(), run.cost_term(), _harms(plan, run)
    if quality is None or (cost is None and plan.lambda_cost) or harms is None:
        return None
    objective = Objective(
        quality_0=reference.quality or 1.0,
        cost_0=max(reference.cost or 0.0, 0.0) or 1.0,
        lambda_cost=plan.lambda_cost,
        lambda_risk=plan.lambda_risk,
    )
    paid = cost or replace(quality, difference=0.0, influence=np.zeros_like(quality.influence))
    risk = combine(*harms) if harms else None
    utility = delta_u(quality, paid, risk, objective, alpha=plan.alpha, tstar=TSTAR)
    rare = tuple(event for event in range(len(harms)) if risk_is_rare(*units_of(whole.harms[event])))
    common = [(-plan.lambda_risk * weight, term) for event, (weight, term) in enumerate(harms) if event not in rare]
    settled = combine((1.0, quality), *((objective.quality_0 * price, term) for price, term in common))
    limits, risk_limits = (utility.total.lower, utility.total.upper), _limits(utility.risk)
    if rare:
        harm = _RareHarm.of(plan, whole, rare)
        limits, risk_limits = harm.limits(plan, settled, paid, objective), harm.risk_limits(plan, common)
    return Weighed(objective, quality, paid, risk, settled, rare, utility, limits, risk_limits)


@dataclass(frozen=True, slots=True)
class _RareHarm:
    """Events that few units have had: first traces by arm with any of them, and the most that one trace can weigh."""

    control: RiskUnits
    treatment: RiskUnits
    worst: float

    @classmethod
    def of(cls, plan: ObjectivePlan, whole: Totals, rare: tuple[int, ...]) -> _RareHarm:
        risky = [min(whole.first[arm], sum(whole.risky[event][arm] for event in rare)) for arm in (CONTROL, TREATMENT)]
        control, treatment = (RiskUnits(whole.first[arm], risky[arm]) for arm in (CONTROL, TREATMENT))
        return cls(control, treatment, sum(plan.events[event].weight for event in rare))

    def limits(self, plan: ObjectivePlan, settled: Term, cost: Term, objective: Objective) -> tuple[float, float]:
        """Of the sum."""
        return rare_risk_limits(
            settled,
            cost,
            objective,
            control=self.control,
            treatment=self.treatment,
            worst=self.worst,
            alpha=plan.alpha,
            tstar=TSTAR,
        )

    def risk_limits(self, plan: ObjectivePlan, common: list[tuple[float, Term]]) -> tuple[float, float]:
        """Of the risk term alone: common events by their contrast, one arm at its highest rate of rare ones."""
        lower, upper = _limits(estimate(combine(*common), alpha=plan.alpha / 2, tstar=TSTAR) if common else None)
        arms = (self.control, self.treatment)
        control, treatment = (rate_limits(arm.with_event, arm.units, plan.alpha / 2)[1] for arm in arms)
        price = plan.lambda_risk * self.worst
        return lower - price * treatment, upper + price * control


def _harms(plan: ObjectivePlan, run: RunTotals) -> list[tuple[float, Term]] | None:
    """Each event's weight and contrast; None while an event has no contrast."""
    terms = run.harm_terms()
    found = [(event.weight, term) for event, term in zip(plan.events, terms, strict=True) if term is not None]
    return found if len(found) == len(terms) else None


def _limits(found: Estimate | None) -> tuple[float, float]:
    return (found.lower, found.upper) if found else (0.0, 0.0)
