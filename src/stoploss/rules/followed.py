"""Units that are followed from their first trace until their score is due: thousands, so a snapshot has columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from stoploss.commands import Micros
from stoploss.rules.rows import CONTROL, TREATMENT


@dataclass(slots=True)
class FollowedUnits:
    """By hash, in the order in which they were met.

    since             ledger time of each one's first trace
    treated, scored   those of the treatment arm, and those whose score has come
    """

    PLAIN: ClassVar[Any] = dict[str, np.ndarray]

    since: dict[int, Micros] = field(default_factory=dict)
    treated: set[int] = field(default_factory=set)
    scored: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.since)

    def __contains__(self, unit: int) -> bool:
        return unit in self.since

    def arm(self, unit: int) -> int:
        return TREATMENT if unit in self.treated else CONTROL

    def meet(self, unit: int, arm: int, at: Micros) -> None:
        self.since[unit] = at
        if arm == TREATMENT:
            self.treated.add(unit)

    def leave(self, unit: int) -> tuple[int, bool]:
        """It is followed no longer; its arm, and whether its score had come."""
        found = self.arm(unit), unit in self.scored
        del self.since[unit]
        self.treated.discard(unit)
        self.scored.discard(unit)
        return found

    def up_to(self, latest: Micros) -> list[int]:
        """Those that were met by then."""
        return [unit for unit, at in self.since.items() if at <= latest]

    def below(self, limit: int) -> FollowedUnits:
        """Those with a smaller hash."""
        since = {unit: at for unit, at in self.since.items() if unit < limit}
        return FollowedUnits(since, self.treated & since.keys(), self.scored & since.keys())

    def to_plain(self) -> dict[str, np.ndarray[Any, Any]]:
        rows = len(self)
        return {
            "unit": np.fromiter(self.since, np.uint64, rows),
            "arm": np.fromiter(map(self.arm, self.since), np.int64, rows),
            "since": np.fromiter(self.since.values(), np.int64, rows),
            "scored": np.fromiter(map(self.scored.__contains__, self.since), np.bool_, rows),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, np.ndarray[Any, Any]]) -> Self:
        unit, since = plain["unit"], plain["since"]
        treated, scored = unit[plain["arm"] == TREATMENT], unit[plain["scored"]]
        return cls(dict(zip(unit.tolist(), since.tolist(), strict=True)), set(treated.tolist()), set(scored.tolist()))
