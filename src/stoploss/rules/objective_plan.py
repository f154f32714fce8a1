"""What the objective's YAML means in numbers: columns, scales, prices, and the weight of each harm event."""

from __future__ import annotations

from dataclasses import dataclass

from stoploss.experiment import Experiment
from stoploss.metrics import METRICS, RISK_EVENTS
from stoploss.spec.objective import Objective

COST = "cost_usd"


@dataclass(frozen=True, slots=True)
class RiskColumn:
    """A harm event.

    weight      of one event, as the spec gives it
    by_outcome  it comes as a late outcome of its own, and never to say that nothing happened
    """

    column: str
    weight: float
    by_outcome: bool


@dataclass(frozen=True, slots=True)
class ObjectivePlan:
    """An objective, ready to fold.

    quality          column of the score, quality_scale integers per unit; cost_scale: of COST
    lambda_cost, lambda_risk, indifference, alpha  as the spec gives them; alpha is that of each side
    events           none where risk has no price
    closes_after_s   seconds after a unit's last exposure when its scores count; None: as they come
    """

    quality: str
    quality_scale: int
    cost_scale: int
    events: tuple[RiskColumn, ...]
    lambda_cost: float
    lambda_risk: float
    indifference: float
    alpha: float
    closes_after_s: int | None

    @classmethod
    def of(cls, experiment: Experiment, objective: Objective) -> ObjectivePlan:
        assert objective.quality is not None, "the checks of the spec see to it"
        return cls(
            quality=objective.quality.score,
            quality_scale=experiment.metric(objective.quality.score).scale,
            cost_scale=METRICS[COST].scale,
            events=tuple(_event(risk.event, risk.weight) for risk in objective.risk if objective.lambda_risk),
            lambda_cost=objective.lambda_cost,
            lambda_risk=objective.lambda_risk,
            indifference=objective.indifference,
            alpha=objective.alpha,
            closes_after_s=objective.quality.closes_after,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of the evidence that it reads: quality, cost, and one for each risk event."""
        return (self.quality, COST, *(event.column for event in self.events))


def _event(event: str, weight: float) -> RiskColumn:
    column = RISK_EVENTS[event]
    return RiskColumn(column, weight, column not in METRICS)
