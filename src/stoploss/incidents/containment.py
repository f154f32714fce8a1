"""How quickly an incident was contained: harm, command, applied, last exposure, each by its own clock; the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stoploss.experiment import Experiment
from stoploss.review.chain import CommandLine
from stoploss.spec.base import parse_duration
from stoploss.store.rows import ExposuresAfterStop

TARGET = "containment-target"
"""Annotation of a spec: from the first harm to the last exposure no longer than this, as 30s or 5m."""
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Containment:
    """From the harm to the last exposure. None: not known, or not yet.

    first_harm_at  event time of the first trace that tripped the gate; of other rules nobody can say which was first
    decided_at     ledger time of the command
    applied_at     ledger time at which each required controller had applied it at least once
    last_at        event time at which the last request of the treatment began; the decision where none began after it
    in_flight      requests under way at the decision; after_stop: those begun later
    unanswered     required controllers that have not applied it
    target_ms      what the spec promises; target_fault: why that cannot be read
    """

    first_harm_at: datetime | None
    decided_at: datetime
    applied_at: datetime | None
    last_at: datetime | None
    in_flight: int | None
    after_stop: int | None
    unanswered: tuple[str, ...]
    target_ms: float | None
    target_fault: str | None

    @property
    def harm_to_command_ms(self) -> float | None:
        return _between(self.first_harm_at, self.decided_at)

    @property
    def command_to_applied_ms(self) -> float | None:
        return _between(self.decided_at, self.applied_at)

    @property
    def harm_to_last_ms(self) -> float | None:
        return _between(self.first_harm_at, self.last_at)

    @property
    def measured_ms(self) -> float | None:
        """What is held against the target: from the first harm, or, where that is not known, from the command."""
        return _between(self.first_harm_at or self.decided_at, self.last_at)

    @property
    def within_target(self) -> bool | None:
        """None: no target, or no last exposure is known yet."""
        if self.target_ms is None or self.measured_ms is None:
            return None
        return self.measured_ms <= self.target_ms


def _between(first: datetime | None, last: datetime | None) -> float | None:
    return None if first is None or last is None else (last - first) / MILLISECOND


def containment(command: CommandLine, counted: Sequence[ExposuresAfterStop], spec: Experiment | None) -> Containment:
    """Of a command.

    counted  exposures after stops, of any commands
    spec     None: it cannot be read, and so no target is known
    """
    exposures = next((count for count in counted if count.command_id == command.command_id), None)
    target_ms, fault = _target(spec)
    return Containment(
        first_harm_at=exposures.first_harm_at if exposures else None,
        decided_at=command.decided_at,
        applied_at=applied_at(command),
        last_at=(exposures.last_at or command.decided_at) if exposures else None,
        in_flight=exposures.in_flight if exposures else None,
        after_stop=exposures.after_stop if exposures else None,
        unanswered=command.unanswered,
        target_ms=target_ms,
        target_fault=fault,
    )


def applied_at(command: CommandLine) -> datetime | None:
    """None: not by each required controller, or it is not known who they are."""
    first: dict[str, datetime] = {}
    for ack in command.acks:
        if ack.status == "applied":
            first.setdefault(ack.controller, ack.at)
    if command.controllers is None or any(name not in first for name in command.controllers):
        return None
    return max((first[name] for name in command.controllers), default=None)


def _target(spec: Experiment | None) -> tuple[float | None, str | None]:
    text = spec.metadata.annotations.get(TARGET) if spec else None
    if text is None:
        return None, None
    try:
        return parse_duration(text) * 1_000.0, None
    except ValueError as error:
        return None, f"the annotation {TARGET} cannot be read: {error}"
