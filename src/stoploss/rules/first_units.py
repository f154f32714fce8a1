"""Units where they are first seen, by epoch and arm: what the split of traffic is judged by.

A unit counts once per experiment. Requests are ordered by their start and counted after the service's timeout, or a
slower treatment would look like a missing one (stats/sample_ratio.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stoploss.arrays import indices
from stoploss.commands import Micros
from stoploss.rules.rows import IntArray, Mask, Moment, Rows
from stoploss.stats.sample_ratio import EpochCounts

SECOND = 1_000_000


@dataclass(slots=True)
class EpochUnits:
    """Units first seen in an epoch, and the treatment's share in it; counts[2 * category + arm]."""

    share: float
    counts: list[int]


@dataclass(slots=True)
class FirstUnits:
    """Counts of one run.

    categories  how many kinds of units are told apart; 1: none
    since       requests that began before this moment were assigned in another epoch, and are not counted
    pending     start second -> counts, not yet past the service's timeout
    """

    categories: int = 1
    epochs: list[EpochUnits] = field(default_factory=list)
    since: Micros = 0
    pending: dict[int, list[int]] = field(default_factory=dict)
    open: bool = False

    def begin(self, rows: Rows, moment: Moment) -> Mask | None:
        """Which rows belong to the open epoch, whose split is to be judged; None: no row does. Opens it if need be."""
        # A first trace counts even where it is not compared, or a misrouted arm would look like a missing one.
        compared = (rows.compared | rows.first) & rows.exposure
        if moment.share is None or not 0 < moment.share < 1 or not compared.any():
            return None
        if not self.open:
            self.epochs.append(EpochUnits(moment.share, [0] * (2 * self.categories)))
            self.open, self.since = True, moment.at
        return compared & (rows.start >= self.since)

    def add(self, rows: Rows, counted: Mask, category: IntArray | None = None) -> None:
        """Counts rows that are the first of their unit; category of each row, 0 to categories - 1."""
        first = indices(counted & rows.first)
        if not first.size:
            return
        key = rows.arm[first] if category is None else 2 * category[first] + rows.arm[first]
        width = 2 * self.categories
        seconds, place = np.unique(rows.start[first] // SECOND, return_inverse=True)
        table = np.bincount(place * width + key, minlength=seconds.size * width).reshape(-1, width)
        for second, counts in zip(seconds.tolist(), table.tolist(), strict=True):
            held = self.pending.setdefault(second, [0] * width)
            self.pending[second] = [a + b for a, b in zip(held, counts, strict=True)]

    def settle(self, moment: Moment, timeout_s: int) -> bool:
        """Counts the seconds whose requests have all ended, one way or the other; whether there were any."""
        if not self.open:
            return False
        closed = moment.at // SECOND - timeout_s
        ended = [second for second in self.pending if second <= closed]
        for second in ended:
            epoch = self.epochs[-1]
            epoch.counts = [a + b for a, b in zip(epoch.counts, self.pending.pop(second), strict=True)]
        return bool(ended)

    def close_epoch(self) -> None:
        """After a last settle. What is not past the timeout is dropped: counting it would favour the quicker arm."""
        self.pending, self.open = {}, False

    def of(self, category: int = 0) -> list[EpochCounts]:
        """One category's counts, by epoch."""
        at = 2 * category
        return [EpochCounts(e.counts[at], e.counts[at + 1], e.share) for e in self.epochs]

    def totals(self, category: int = 0) -> tuple[int, int]:
        """Units of control and treatment over all epochs."""
        counts = [epoch.counts for epoch in self.epochs]
        return sum(c[2 * category] for c in counts), sum(c[2 * category + 1] for c in counts)
