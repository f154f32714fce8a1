"""What a rule says: the outcome, its reason, both numbers compared, and what should be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stoploss.commands import Action, Evidence
from stoploss.stats.floors import Floor


class Outcome(StrEnum):
    BREACH = "breach"
    SAFE = "safe"
    UNDECIDED = "undecided"
    OK = "ok"


class Reason(StrEnum):
    FIRST_EVENT = "first_event"
    NO_EVENT = "no_event"
    BELOW_FLOOR = "below_floor"
    NO_CONTRAST = "no_contrast"
    EVIDENCE_ABOVE_LIMIT = "evidence_above_limit"
    EVIDENCE_OF_SAFETY = "evidence_of_safety"
    EVIDENCE_BETWEEN = "evidence_between"
    VARIANT_MOVED = "variant_moved"
    WORLD_MOVED = "world_moved"
    CONTROL_MOVED = "control_moved"
    OTHER_ARM_PENDING = "other_arm_pending"
    STEADY = "steady"
    BURNING = "burning"
    WITHIN_BUDGET = "within_budget"
    UNIT_IN_TWO_VARIANTS = "unit_in_two_variants"
    SILENT = "silent"
    HEARD = "heard"


class Severity(StrEnum):
    PAGE = "page"
    HOLD = "hold"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Response:
    """What a breach leads to.

    action    command to issue; None: no command
    share     share of traffic to throttle to, where the action is to throttle
    hold      hold the ramp and any raise of exposure
    severity  whether a person is woken
    """

    action: Action | None
    severity: Severity
    share: float | None = None
    hold: bool = False


NOTHING = Response(None, Severity.INFO)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one stream of a rule (a metric in a segment) says now.

    stream    name of the stream within the rule, stable over the experiment
    evidence  both numbers compared, and how much stands behind them
    response  what a breach leads to
    floor     the requirement that is not met yet, where that is the reason
    detail    what was seen, in words, where numbers do not say it
    """

    stream: str
    outcome: Outcome
    reason: Reason
    evidence: Evidence
    response: Response = NOTHING
    floor: Floor | None = None
    detail: str = ""


def share_text(value: float) -> str:
    """0.312 -> '31.2 %'."""
    return f"{100 * value:.1f} %"
