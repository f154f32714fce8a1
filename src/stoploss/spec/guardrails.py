"""Guardrails of a spec: a metric on which the treatment must not be worse, by how much, and what follows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from stoploss import metrics
from stoploss.spec.base import Alpha, Part

GuardrailAction = Literal["rollback", "pause", "stop"]
GuardrailTransform = Literal["none", "log", "capped", "exceedance"]


class Margin(Part):
    absolute: float | None = Field(None, ge=0, le=1e12)
    relative: float | None = Field(None, ge=0, le=1e3)

    @model_validator(mode="after")
    def one_of_two(self) -> Margin:
        if (self.absolute is None) == (self.relative is None):
            raise ValueError("a margin is either absolute or relative; give exactly one of the two")
        return self


class Guardrail(Part):
    """A metric on which the treatment must not be worse than control by more than the margin.

    transform  log; capped: at control's frozen 99th percentile; exceedance: the share of traces beyond a threshold
    quantile   of an exceedance: the share of control's values that lie on the good side of the threshold
    threshold  of an exceedance, in the metric's unit, instead of a quantile
    covariate  a score that traces carry and that was known before they were assigned; it takes noise away (CUPED)
    """

    metric: str
    direction: Literal["lower", "higher"]
    margin: Margin
    transform: GuardrailTransform = "none"
    quantile: float | None = Field(None, ge=0.05, le=0.99)
    threshold: float | None = Field(None, ge=-1e12, le=1e12)
    covariate: str | None = None
    alpha: Alpha = 0.01
    action: GuardrailAction = "rollback"

    @property
    def projected(self) -> metrics.Transform:
        """What intake makes of the metric; the rest is made of it by the judge (rules/reading.py)."""
        return "log" if self.transform == "log" else "none"
