"""When the monitor did not see a run: what happened meanwhile was judged by nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.review.chain import Place, conclusion_of, of_run, place_of
from stoploss.store.rows import TimelineEntry


@dataclass(frozen=True, slots=True)
class BlindLine:
    """One time without sight; until None: it is not over, as far as the journal says."""

    since: datetime
    until: datetime | None
    cause: str
    reason: str
    place: Place


def blindness(timeline: Sequence[TimelineEntry], run: int) -> tuple[BlindLine, ...]:
    """In order; the journal says when one begins and again when it is over."""
    told = [(entry, conclusion_of(entry)) for entry in of_run(timeline, run, "monitor_blind")]
    over = {said["since"]: entry.at for entry, said in told if said["until"] is not None}
    return tuple(
        BlindLine(entry.at, over.get(said["since"]), said["cause"], said["reason"], place_of(entry))
        for entry, said in told
        if said["until"] is None
    )
