"""Rows that wait: those of segments for the next tick, those of everybody until a rule may have something to say."""

from __future__ import annotations

from dataclasses import dataclass, field

from stoploss.commands import Micros
from stoploss.rules.rows import Rows, together


@dataclass(slots=True)
class Waiting:
    """The rows of a ledger second that are not folded everywhere yet.

    parts  one for each entry, in their order; rows: of all of them; at: ledger time of the last
    seen   by rule that can wait: parts that it has folded for everybody
    room   by such rule: rows that may still come before it has to fold
    """

    parts: list[Rows] = field(default_factory=list)
    rows: int = 0
    at: Micros = 0
    seen: dict[str, int] = field(default_factory=dict)
    room: dict[str, int] = field(default_factory=dict)

    def add(self, rows: Rows, at: Micros) -> None:
        self.parts.append(rows)
        self.rows += rows.size
        self.at = at

    def fits(self, rows: int, rule: str) -> bool:
        """Whether the rule can let so many more rows wait; they count from now on."""
        left = self.room[rule] = self.room.get(rule, 0) - rows
        return left >= 0

    def unseen(self, rule: str, joined: dict[int, Rows]) -> Rows | None:
        """What the rule has not folded for everybody; it has from now on. Joined once for all rules, by first part."""
        first = self.seen.get(rule, 0)
        if first == len(self.parts):
            return None
        self.seen[rule] = len(self.parts)
        if first not in joined:
            joined[first] = together(self.parts[first:])
        return joined[first]
