"""What a rule says: the outcome, its reason, both numbers compared, and what should be done about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from stoploss.commands import Action, Evidence
from stoploss.stats.floors import Floor


class Outcome(StrEnum):
    BREACH = "breach"
    SAFE = "safe"
    UNDECIDED = "undecided"
    OK = "ok"
    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    ROLLOUT = "rollout"
    ITERATE = "iterate"
    ROLLBACK = "rollback"
    DIFFERS = "differs"


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
    REGRESSED = "regressed"
    LEARNING = "learning"
    BURNING = "burning"
    WITHIN_BUDGET = "within_budget"
    UNIT_IN_TWO_VARIANTS = "unit_in_two_variants"
    SILENT = "silent"
    HEARD = "heard"
    NO_REFERENCE = "no_reference"
    UTILITY_ABOVE_ZERO = "utility_above_zero"
    UTILITY_BELOW_ZERO = "utility_below_zero"
    UTILITY_WITHIN_INDIFFERENCE = "utility_within_indifference"
    PART_OF_UTILITY = "part_of_utility"
    FLIPS = "flips"
    NEVER_FLIPS = "never_flips"
    NOTHING_SHOWN = "nothing_shown"
    EVIDENCE_MISSING = "evidence_missing"
    EVIDENCE_COMPLETE = "evidence_complete"
    HARM_SHOWN = "harm_shown"
    PARTIAL_EXPOSURE = "partial_exposure"
    OVER_EXPOSED = "over_exposed"
    STILL_OVER_EXPOSED = "still_over_exposed"
    MIX_DIFFERS = "mix_differs"
    JUDGE_MOVED = "judge_moved"
    PEOPLE_DISAGREE = "people_disagree"
    PEOPLE_AGREE = "people_agree"
    SCORES_MISSING = "scores_missing"
    SCORES_LATE = "scores_late"
    OUTCOMES_UNRESOLVED = "outcomes_unresolved"
    SPENT_UNCOUNTED = "spent_uncounted"
    REJECTS_DIFFER = "rejects_differ"
    NOT_APPLIED = "not_applied"
    APPLIED = "applied"
    OPPOSITE_SIGNS = "opposite_signs"
    CORRELATION_FELL = "correlation_fell"
    RUNS_OUT = "runs_out"
    SERVED_OTHERWISE = "served_otherwise"
    SERVED_AFTER_STOP = "served_after_stop"
    SERVED_AS_DECLARED = "served_as_declared"
    EFFECTS_DIFFER = "effects_differ"


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
    told      both numbers compared, and how much stands behind them; or how to find them
    response  what a breach leads to
    floor     the requirement that is not met yet, where that is the reason
    detail    what was seen, in words, where numbers do not say it
    """

    stream: str
    outcome: Outcome
    reason: Reason
    told: Evidence | Callable[[], Evidence]
    response: Response = NOTHING
    floor: Floor | None = None
    detail: str = ""

    @property
    def evidence(self) -> Evidence:
        """Found when it is read, in the step that judged: of a hundred segments nearly all have nothing new to say."""
        return self.told if isinstance(self.told, Evidence) else self.told()


def share_text(value: float) -> str:
    """0.312 -> '31.2 %'."""
    return f"{100 * value:.1f} %"
