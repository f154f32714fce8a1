"""How long it took from the start to a decision: of one experiment, and of all that have been decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from stoploss.store.review_reads import StartToDecision


@dataclass(frozen=True, slots=True)
class Pace:
    """
    took_s         from the first start to the decision; None: not started, or not decided yet
    decided        experiments of the programme that were started and decided; median_s: their median
    under_way      those that were started and are not decided yet
    """

    started_at: datetime | None
    decided_at: datetime | None
    took_s: float | None
    decided: int
    median_s: float | None
    under_way: int


def pace(experiment: str, programme: Sequence[StartToDecision]) -> Pace:
    """
    programme  of every experiment, this one among them
    """
    own = next((one for one in programme if one.experiment == experiment), None)
    took = [one.took_s for one in programme if one.took_s is not None]
    started = sum(one.started_at is not None for one in programme)
    return Pace(
        started_at=own.started_at if own else None,
        decided_at=own.decided_at if own else None,
        took_s=own.took_s if own else None,
        decided=len(took),
        median_s=median(took) if took else None,
        under_way=started - len(took),
    )
