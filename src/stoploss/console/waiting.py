"""What waits for a person: approvals, starts, holds, pauses, reviews, and what is recommended. From the registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from stoploss.console.asking import Offer, offers
from stoploss.console.reads import Standing
from stoploss.governance.approvals import missing, needs
from stoploss.governance.record import Governance
from stoploss.lifecycle import WAITING as BEFORE_START
from stoploss.lifecycle import Lifecycle

START = "Waits for somebody to start it."
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
    experiment: str
    lifecycle: str
    why: str
    people: tuple[str, ...]
    since: datetime
    offers: tuple[Offer, ...]


def waiting(standings: Iterable[Standing], now: datetime) -> tuple[Waiting, ...]:
    """Longest first."""
    return tuple(sorted(_waiting(standings, now), key=lambda item: item.since))


def _waiting(standings: Iterable[Standing], now: datetime) -> Iterator[Waiting]:
    for standing in standings:
        status = standing.status
        if (why := _why(standing, now)) is not None:
            yield Waiting(
                status.experiment, status.lifecycle, why, status.people, status.changed_at, offers(status.lifecycle)
            )


def _why(standing: Standing, now: datetime) -> str | None:
    state = Lifecycle(standing.status.lifecycle)
    if state in BEFORE_START:
        return _approvals(standing, now) or START
    if state == Lifecycle.RUNNING:
        return RECOMMENDED.get(standing.status.recommendation or "")
    return WHY.get(state)


def _approvals(standing: Standing, now: datetime) -> str | None:
    """What its spec asks for and is not there. The organisation's policy, which the judge reads, may ask for more."""
    if standing.spec is None:
        return None
    said = Governance(approvals=list(standing.approvals))
    lacking = missing(needs(None, standing.spec), said, round(now.timestamp() * 1_000_000))
    return f"Waits for approval: {'; '.join(lacking)}." if lacking else None
