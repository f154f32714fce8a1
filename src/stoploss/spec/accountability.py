"""What people owe beside the numbers: risks, baselines, owners and purpose of an experiment."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

from pydantic import Field

from stoploss.spec.base import Part, Seconds


class Risk(Part):
    """A line of the risk register.

    hurts        who is harmed
    watched_by   names of the gates, or metrics of the guardrails, that would notice
    contingency  what is done then, beside what the monitor does
    """

    harm: str = Field(min_length=1)
    hurts: str = Field(min_length=1)
    severity: Literal["low", "medium", "high"]
    likelihood: Literal["low", "medium", "high"]
    watched_by: tuple[str, ...] = ()
    contingency: str = ""
    owner: str = Field(min_length=1)
    recheck: date | None = None


class Baseline(Part):
    """A number, price or assessment that the experiment rests on, when it was taken, and until when it holds."""

    item: str = Field(min_length=1, max_length=200)
    value: float | str | None = None
    taken: date
    recheck_within: Seconds = 30 * 86_400
    source: str = Field(min_length=1)

    @property
    def due(self) -> date:
        """The first day on which it is overdue."""
        return self.taken + timedelta(seconds=self.recheck_within)


class Owners(Part):
    """Who answers for what the experiment is made of."""

    data: str = Field(min_length=1)
    model: str = Field(min_length=1)
    evaluation: str = Field(min_length=1)


class Purpose(Part):
    """Why personal data is processed, and on which legal basis."""

    text: str = Field(min_length=1)
    legal_basis: str = Field(min_length=1)
