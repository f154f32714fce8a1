"""What waits for a person: decisions, starts, holds, reviews; what is recommended, or overdue. From the registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from stoploss.console.asking import APPROVE, Offer, offers
from stoploss.console.deciding import Viewer, choice, decisions, lacking
from stoploss.console.reads import Standing
from stoploss.lifecycle import WAITING as BEFORE_START
from stoploss.lifecycle import Lifecycle

START = "Waits for somebody to start it."
ROLLED_OUT = "Rolled out and still served, and waits for its review."
OVERDUE = "What people owe is overdue."
WHY = {
    Lifecycle.HOLDING: "Held: its exposure is frozen until a person resumes, pauses or stops it.",
    Lifecycle.PAUSED: "Paused: nobody gets the treatment until a person resumes it.",
    Lifecycle.COMPLETED: "Completed, and waits for its review.",
}
RECOMMENDED = {
    "rollout": "The objective recommends to roll the treatment out.",
    "rollback": "The objective recommends to roll back.",
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    people  what they have decided; owed: what they owe, with its day; overdue: what of that is
    since   the last change; where nothing but what is owed waits: the first day on which it was overdue
    offers  what the viewer may ask for; why_not: why they may not approve it; empty where they may, or nobody has to
    """

    experiment: str
    lifecycle: str
    why: str
    people: tuple[str, ...]
    owed: tuple[str, ...]
    overdue: tuple[str, ...]
    since: datetime
    offers: tuple[Offer, ...]
    why_not: str = ""


def waiting(standings: Iterable[Standing], now: datetime, viewer: Viewer) -> tuple[Waiting, ...]:
    """Longest first."""
    return tuple(sorted(_waiting(standings, now, viewer), key=lambda item: item.since))


def _waiting(standings: Iterable[Standing], now: datetime, viewer: Viewer) -> Iterator[Waiting]:
    for standing in standings:
        status = standing.status
        why, since, late = _why(standing, now, viewer), status.changed_at, status.overdue_since
        if why is None and late is not None:
            why, since = OVERDUE, datetime(late.year, late.month, late.day, tzinfo=UTC)
        if why is not None:
            said = (status.people, status.due, status.overdue)
            can = (*decisions(standing, viewer, now), *offers(status.lifecycle))
            yield Waiting(status.experiment, status.lifecycle, why, *said, since, can, _why_not(standing, now, viewer))


def _why_not(standing: Standing, now: datetime, viewer: Viewer) -> str:
    return choice(APPROVE, standing, viewer, now).why_not if lacking(standing, viewer.policy, now) else ""


def _why(standing: Standing, now: datetime, viewer: Viewer) -> str | None:
    state, recommended = Lifecycle(standing.status.lifecycle), standing.status.recommendation or ""
    if state in BEFORE_START:
        return _approvals(standing, now, viewer) or START
    if state == Lifecycle.RUNNING:
        return RECOMMENDED.get(recommended)
    if state == Lifecycle.ADOPTED:
        return RECOMMENDED["rollback"] if recommended == "rollback" else _review(standing)
    return WHY.get(state)


def _review(standing: Standing) -> str | None:
    reviewed = standing.completion is not None and standing.completion.reviewed_at is not None
    return None if reviewed else ROLLED_OUT


def _approvals(standing: Standing, now: datetime, viewer: Viewer) -> str | None:
    """What its spec and the organisation's policy ask for and is not there."""
    missed = lacking(standing, viewer.policy, now)
    return f"Waits for approval: {'; '.join(missed)}." if missed else None
