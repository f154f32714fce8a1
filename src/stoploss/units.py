"""Randomisation units in bounded memory: who was seen first, who has been counted often enough, who changed arms.

Every table is indexed by bits of the salted 8-byte unit hash and shared by all arms, so that what a collision drops,
it drops in both arms alike (STATISTICS: units). All updates are functions of the rows in ledger order alone, however
the rows are cut into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stoploss.arrays import indices

IntArray = npt.NDArray[np.int64]
UnitArray = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

SEEN_BITS = 20
CAP_CELLS = 1 << 16  # DailyCap.admit reads 16 bits
CAP_PER_DAY = 10
DISTINCT_SLOTS = 2_048
SAMPLE_LIMIT = 8_192
LATELY = 4 * SAMPLE_LIMIT
DAY_MICROS = 86_400_000_000


def occurrence_rank(key: npt.NDArray[np.integer[Any]]) -> IntArray:
    """For each row, how many earlier rows of the block have its key.

    >>> occurrence_rank(np.array([7, 3, 7, 7, 3])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(key, kind="stable")
    position, again = np.arange(key.size), key[order]
    # The place of the first of its key, up to each row: 0 where the key goes on, hence the highest so far.
    first = np.zeros(key.size, np.int64)
    first[1:] = np.where(again[1:] != again[:-1], position[1:], 0)
    rank = np.empty(key.size, np.int64)
    rank[order] = position - np.maximum.accumulate(first)
    return rank


@dataclass(slots=True)
class SeenUnits:
    """One bit per unit, never reset: the first trace of a unit in the experiment, and the number of units."""

    seen: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1 << SEEN_BITS, np.bool_))

    def first(self, unit: UnitArray) -> Mask:
        """Which rows are the first of their unit; marks them. A collision drops a unit in either arm alike."""
        slot = (unit >> np.uint64(64 - SEEN_BITS)).astype(np.int64)
        first: Mask = ~self.seen[slot]
        fresh = indices(first)
        first[fresh] = occurrence_rank(slot[fresh]) == 0
        self.seen[slot] = True
        return first


@dataclass(slots=True)
class DailyCap:
    """At most ten traces of a unit in a day count in a contrast: heavy users would carry it alone otherwise."""

    counts: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(CAP_CELLS, np.uint8))
    day: int = 0

    def admit(self, unit: UnitArray) -> Mask:
        """Which rows are among the first ten of their unit; counts them."""
        cell = unit.astype(np.uint16)  # the last 16 bits; numpy sorts 16 bits by radix, ten times as quick
        rank = occurrence_rank(cell)
        counted = self.counts[cell] + rank
        admitted: Mask = counted < CAP_PER_DAY
        # The last occurrence of a cell has its highest count, and comes last.
        self.counts[cell] = np.minimum(counted + 1, CAP_PER_DAY)
        return admitted

    def advance(self, at: int) -> None:
        """Called at ticks: starts anew each day, and when half the cells are taken, since cells are shared."""
        day = at // DAY_MICROS
        if day != self.day or int(np.count_nonzero(self.counts)) > CAP_CELLS // 2:
            self.counts, self.day = np.zeros(CAP_CELLS, np.uint8), day


@dataclass(slots=True)
class DistinctUnits:
    """Distinct units per arm and cell, by slots taken: a lower bound that is close up to about a thousand.

    taken  bool, (2, cells, DISTINCT_SLOTS)
    """

    taken: npt.NDArray[np.bool_]

    @classmethod
    def none(cls, cells: int) -> DistinctUnits:
        return cls(np.zeros((2, cells, DISTINCT_SLOTS), np.bool_))

    def add(self, arm: IntArray, cell: IntArray, unit: UnitArray) -> None:
        self.take(slots(arm * self.taken.shape[1] + cell, unit))

    def take(self, slot: IntArray) -> None:
        """Takes slots that are known already; see slots."""
        self.taken.reshape(-1)[slot] = True

    def grow(self, cells: int) -> None:
        more = cells - self.taken.shape[1]
        self.taken = np.pad(self.taken, ((0, 0), (0, more), (0, 0)))

    def counts(self) -> IntArray:
        """(2, cells): slots taken. Never more than there are units."""
        counts: IntArray = np.bitwise_count(self.taken.view(np.uint64)).sum(axis=2, dtype=np.int64)
        return counts


def slots(key: IntArray, unit: UnitArray) -> IntArray:
    """Place of each unit in DistinctUnits.taken, flat; key: arm * cells + cell of each row."""
    slot: IntArray = key * DISTINCT_SLOTS + ((unit >> np.uint64(20)) & np.uint64(DISTINCT_SLOTS - 1)).astype(np.int64)
    return slot


@dataclass(slots=True)
class ArmSample:
    """A sample of units with their arm, to find one unit in two variants within an epoch.

    A unit is sampled where its hash lies below 2**64 >> halvings; the threshold halves when the sample is full.

    lately  the last units that came, by arm and bits of their hash: they have nothing new to tell
    """

    arm_of: dict[int, int] = field(default_factory=dict)
    changed: dict[int, bool] = field(default_factory=dict)
    halvings: int = 0
    lately: UnitArray | None = field(default=None, compare=False, metadata={"transient": True})

    @property
    def told(self) -> tuple[int, int]:
        """Units that changed arms, and how often the sample was halved: what a verdict on it can rise by."""
        return len(self.changed), self.halvings

    def add(self, arm: IntArray, unit: UnitArray) -> None:
        if self.halvings:
            sampled = indices(unit >> np.uint64(64 - self.halvings) == 0)
            arm, unit = arm[sampled], unit[sampled]
        new = self._not_lately(arm, unit)
        for key, side in zip(unit[new].tolist(), arm[new].tolist(), strict=True):
            if self.arm_of.setdefault(key, side) != side:
                self.changed[key] = True
        while len(self.arm_of) > SAMPLE_LIMIT:
            self._halve()

    def _not_lately(self, arm: IntArray, unit: UnitArray) -> IntArray:
        """Rows whose unit and arm are not those that came last in their place; they are now."""
        if self.lately is None:
            # No unit of place p is ~p, so nobody is there yet.
            self.lately = np.tile(~np.arange(LATELY, dtype=np.uint64), 2)
        place = arm * LATELY + (unit & np.uint64(LATELY - 1)).astype(np.int64)
        new = indices(self.lately[place] != unit)
        self.lately[place[new]] = unit[new]
        return new

    def _halve(self) -> None:
        self.halvings += 1
        below = 1 << (64 - self.halvings)
        self.arm_of = {key: side for key, side in self.arm_of.items() if key < below}
        self.changed = {key: True for key in self.changed if key < below}
