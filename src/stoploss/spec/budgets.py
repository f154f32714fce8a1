"""Budgets of a spec: what may be spent in a period, and what is done while it burns too fast."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from stoploss.spec.base import Part, Seconds, Share


class BurnAction(Part):
    burn: float = Field(ge=0.1, le=10_000)
    do: Literal["throttle", "pause", "stop"]
    to: Share | None = None

    @model_validator(mode="after")
    def throttle_names_its_share(self) -> BurnAction:
        if (self.do == "throttle") != (self.to is not None):
            raise ValueError("'to' (a share of traffic) belongs to 'do: throttle', and only there")
        return self


class Slo(Part):
    metric: str
    threshold: float = Field(ge=-1e12, le=1e12)
    target: float = Field(gt=0, lt=1)


class Budget(Part):
    """Money or tokens to spend in a period, or an objective whose bad share is the budget."""

    metric: str | None = None
    limit: float | None = Field(None, gt=0, le=1e12)
    slo: Slo | None = None
    period: Seconds
    actions: tuple[BurnAction, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def one_of_two(self) -> Budget:
        spend = self.metric is not None and self.limit is not None
        if spend == (self.slo is not None) or (self.slo and (self.metric or self.limit)):
            raise ValueError("a budget has either metric and limit, or an slo; give exactly one of the two")
        return self

    @property
    def watched(self) -> str:
        return self.slo.metric if self.slo else str(self.metric)
