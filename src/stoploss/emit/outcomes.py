"""What becomes known of a trace when its request is over, by the names that metrics have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoploss.emit.tracer import Tracer


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Made by `Tracer.outcomes` from a request's context token; every method sends one outcome and returns at once.

    source  who says so: person, system, or a judge with its version (judge:grader@3)
    """

    tracer: Tracer
    context: str

    def score(self, name: str, value: float, *, source: str = "system") -> None:
        """A judged quality: `name` is what guardrails and objectives call it."""
        self._send("score", name, value, source)

    def feedback(self, value: float, *, name: str = "feedback", source: str = "person") -> None:
        """What a user says: 1 for a thumb up, 0 for one down, or a number of stars."""
        self._send("feedback", name, value, source)

    def business(self, name: str, value: float, *, source: str = "system") -> None:
        """A business result, such as resolved, booked or refunded."""
        self._send("business", name, value, source)

    def audit(self, name: str, value: float, *, source: str = "person") -> None:
        """A person's grade of what a judge has graded, to hold the judge against."""
        self._send("audit", name, value, source)

    def complaint(self, *, source: str = "person") -> None:
        """The user has complained: a harm event."""
        self._send("complaint", "complaint", 1.0, source)

    def escalation(self, *, source: str = "system") -> None:
        """It was handed to a person: a harm event."""
        self._send("escalation", "escalation", 1.0, source)

    def _send(self, kind: str, name: str, value: float, source: str) -> None:
        self.tracer.outcome(self.context, name, value, kind=kind, source=source)
