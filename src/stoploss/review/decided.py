"""What was decided and why: by the person who completed it, else by the last command that lowered and still stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.governance.record import Completion
from stoploss.lifecycle import AFTER, WAITING, Lifecycle
from stoploss.review.chain import CommandLine, FindingLine, standing
from stoploss.review.recommended import WORDS
from stoploss.review.words import moment
from stoploss.store.rows import Status

UNDECIDED = "undecided"
ENDS = frozenset(str(action) for action in AFTER)
NO_REASON = "no reason was given"


@dataclass(frozen=True, slots=True)
class Decision:
    """'undecided' where nobody has completed the experiment and no command lowered or stopped anything.

    command_id   of the monitor's command; None: a person decided, or nobody
    by           the person who decided; None: nobody has yet
    recommended  what the monitor had recommended to that person; None: nothing, or nobody has decided
    """

    decision: str
    why: str
    at: datetime | None
    command_id: str | None
    by: str | None = None
    recommended: str | None = None
    caveats: str = ""
    reviewer: str = ""
    lesson: str = ""

    @property
    def departs(self) -> bool:
        return self.recommended not in (None, self.decision)


def decision(
    status: Status,
    issued: Sequence[CommandLine],
    findings: Sequence[FindingLine],
    completion: Completion | None = None,
) -> Decision:
    """A person's word first, unless the treatment was taken away later; then the last command that lowered something
    and stands. A start or resume decides nothing.
    """
    last = standing(issued, findings)
    if completion is not None and not _undone(completion, last):
        return _of_person(completion)
    if last is not None:
        return Decision(last.action, last.reason, last.decided_at, last.command_id)
    if status.lifecycle in WAITING:
        return Decision(UNDECIDED, "it has not started", None, None)
    if status.lifecycle == Lifecycle.HOLDING and findings:
        return Decision(UNDECIDED, f"held: {findings[-1].sentence}", findings[-1].at, None)
    return Decision(UNDECIDED, "no rule has called for a command", None, None)


def _undone(completion: Completion, last: CommandLine | None) -> bool:
    """Whether what was rolled out has been paused, stopped or rolled back since."""
    return last is not None and last.action in ENDS and last.decided_at > moment(completion.at)


def _of_person(completion: Completion) -> Decision:
    return Decision(
        decision=completion.decision,
        why=completion.reason or NO_REASON,
        at=moment(completion.at),
        command_id=None,
        by=completion.by,
        recommended=completion.recommended,
        caveats=completion.caveats,
        reviewer=completion.reviewer,
        lesson=completion.lesson,
    )


def decided_by(decision: Decision) -> str:
    """Who decided, and what stood against it: '' where nobody has.

    >>> decided_by(Decision("rollout", "cheaper", None, None, by="ada", recommended="iterate", reviewer="bob"))
    'decided by ada, reviewed by bob; it departs from the recommendation, which was to iterate'
    """
    if decision.by is None:
        return ""
    reviewer = f", reviewed by {decision.reviewer}" if decision.reviewer else ""
    if decision.recommended is None:
        return f"decided by {decision.by}{reviewer}; nothing had been recommended"
    word = WORDS.get(decision.recommended, decision.recommended)
    said = f"it departs from the recommendation, which was to {word}" if decision.departs else "as recommended"
    return f"decided by {decision.by}{reviewer}; {said}"
