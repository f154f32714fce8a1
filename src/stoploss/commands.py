"""Commands: a complete desired state for an experiment, signed and published by the monitor, obeyed by controllers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

Micros = int
"""Microseconds since 1970-01-01 UTC."""

BREAK_GLASS_SEQUENCE = 0
"""Of a person's command past the monitor: it stands outside the order. The monitor's sequences begin at 1."""


class Action(StrEnum):
    UNKNOWN = "unknown"
    SET_EXPOSURE = "set_exposure"
    STOP_SEGMENT = "stop_segment"
    THROTTLE = "throttle"
    PAUSE = "pause"
    ROLLBACK = "rollback"
    STOP = "stop"


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One value of a segment dimension."""

    dimension: str
    value: str

    def __str__(self) -> str:
        return f"{self.dimension}={self.value}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a decision rests on: both numbers compared, how many rows and units stand behind them, and where to look.

    control, treatment  the arms' values in the metric's unit; None: no data, or not a comparison of arms
    estimate            the effect, treatment against control, in the margin's own terms
    lower, upper        limits of the effect that hold at every look at once, in the margin's own terms
    """

    rule: str
    rule_version: int
    metric: str | None = None
    segment: Segment | None = None
    statistic: str | None = None
    observed: float | None = None
    bound: float | None = None
    control: float | None = None
    treatment: float | None = None
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    margin: float | None = None
    n_control: int = 0
    n_treatment: int = 0
    units_control: int = 0
    units_treatment: int = 0
    journal_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """A complete desired state: a later command subsumes all earlier ones, so a lost one is healed by the next.

    Only a command that raises exposure expires; a stop never does, however late it is delivered.

    needs_consent  who did not agree to take part gets the control variant
    """

    command_id: str
    experiment: str
    run: int
    epoch: int
    sequence: int
    action: Action
    flag: str
    release_variant: str
    control_variant: str
    treatment_variant: str
    exposure: float
    stopped_segments: tuple[Segment, ...]
    reason: str
    evidence: Evidence | None
    decided_at: Micros
    expires_at: Micros | None
    dry_run: bool
    topic: str
    controllers: tuple[str, ...]
    needs_consent: bool = False

    @property
    def asks_for_consent(self) -> bool:
        """Whether anybody could get the treatment who has to agree to it first."""
        return self.needs_consent and (self.exposure > 0 or self.release_variant != self.control_variant)

    @property
    def breaks_glass(self) -> bool:
        return self.sequence == BREAK_GLASS_SEQUENCE


class AckStatus(StrEnum):
    """What became of a command; alive and left answer none: an instance says that it must be asked, or no more."""

    RECEIVED = "received"
    APPLIED = "applied"
    REJECTED = "rejected"
    ALIVE = "alive"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Ack:
    """A controller's answer to a command, or its sign of life; then it names neither experiment nor command."""

    command_id: str
    experiment: str
    run: int
    sequence: int
    controller: str
    instance: str
    status: AckStatus
    reason: str
    at: Micros


def derived_id(*parts: str | int) -> str:
    """An id made from where a thing came from: equal places give equal ids, on every replay.

    >>> derived_id("checkout", 1, "gate", 1, 3, 412, 0)[:12]
    'a0162f2366e1'
    """
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


def round_significant(value: float | None, digits: int = 9) -> float | None:
    """9 significant digits: hides the last bit in which machines may differ; None stays None, as does no data.

    >>> round_significant(1234.56789012345)
    1234.56789
    """
    return None if value is None or value != value else float(f"{value:.{digits}g}")
