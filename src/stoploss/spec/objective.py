"""What a treatment is worth: the target, the objective with its prices, and evidence that is stated by people."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from stoploss import metrics
from stoploss.spec.base import Alpha, Part, Seconds

AFTER_ROLLOUT_S = 30 * 86_400


class Success(Part):
    """What the experiment is for.

    metric        the target
    baseline      what the business has of it today
    worthwhile    the least change worth having
    then          what is done in each case: better, same, worse
    review_after  how long after a rollout the post-implementation review is due; 30 days where it is not said
    """

    metric: str
    baseline: float | None = None
    worthwhile: float | None = None
    then: dict[Literal["better", "same", "worse"], str] = Field(default_factory=dict)
    review_after: Seconds | None = None

    @property
    def reviewed_within_s(self) -> int:
        return AFTER_ROLLOUT_S if self.review_after is None else self.review_after


class Quality(Part):
    """closes_after: how long after a unit's last exposure its scores are awaited; then, and not before, they count."""

    score: str
    closes_after: Annotated[Seconds, Field(le=30 * 86_400)] | None = None


class RiskEvent(Part):
    event: str
    weight: float = Field(ge=0.001, le=1_000)


class Objective(Part):
    """What a treatment is worth: quality, less its cost and its risk at the prices that are named here.

    lambda_cost   quality given up, as a share of control's, for a cost that rises by all of control's
    lambda_risk   quality given up, as a share of control's, for one weighted harm event more per trace
    indifference  differences of the sum within this, up or down, are not worth a change
    strategy      name of the organisation's strategy that the prices are of; its policy knows them
    """

    quality: Quality | None = None
    risk: tuple[RiskEvent, ...] = ()
    lambda_cost: float = Field(0.0, ge=0, le=1e6)
    lambda_risk: float = Field(0.0, ge=0, le=1e6)
    indifference: float = Field(0.0, ge=0, le=1e6)
    alpha: Alpha = 0.05
    strategy: str | None = None

    @model_validator(mode="after")
    def risk_is_defined(self) -> Objective:
        if self.lambda_risk and not self.risk:
            raise ValueError("lambdaRisk weighs events, but no risk events are listed; list them, or drop lambdaRisk")
        return self

    @property
    def risk_columns(self) -> tuple[str, ...]:
        """Columns that tell of the risk events; names that are not known are left to the checks of the spec."""
        return tuple(metrics.RISK_EVENTS[risk.event] for risk in self.risk if risk.event in metrics.RISK_EVENTS)

    @property
    def columns(self) -> tuple[str, ...]:
        """Everything that it weighs, but for the cost, which is always measured."""
        return (*((self.quality.score,) if self.quality else ()), *self.risk_columns)


class OfflineEvaluation(Part):
    """The last run of an evaluation suite on the treatment, before production: stated by its owner."""

    suite: str = Field(min_length=1)
    version: str = Field(min_length=1)
    passed: bool
    at: date


class StatedEvidence(Part):
    """Evidence that the judge cannot see for itself; what is absent is a gap that the recommendation names."""

    offline: OfflineEvaluation | None = None
