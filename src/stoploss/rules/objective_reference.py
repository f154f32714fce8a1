"""What quality and cost are measured against: control's means over its first units, frozen at an exact row.

A mean that went on moving would move with the very data that are tested: it gave 9 to 18 % false roll-outs where 5 %
were promised. What both arms did up to that row is no part of the test.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stoploss.arrays import indices
from stoploss.metrics import MISSING
from stoploss.rules.rows import CONTROL, IntArray, Mask, Rows, UnitArray

REFERENCE_UNITS = 1_000
REFERENCE_JUDGED = 100


@dataclass(slots=True)
class Reference:
    """Exact sums of control's rows so far; frozen once enough of its units were seen, and enough of them judged.

    units, judged  hashes of the units seen, and of those with a score; empty once frozen
    """

    quality_n: int = 0
    quality_total: int = 0
    cost_n: int = 0
    cost_total: int = 0
    units: dict[int, bool] = field(default_factory=dict)
    judged: dict[int, bool] = field(default_factory=dict)
    frozen: bool = False

    @property
    def quality(self) -> float | None:
        """Control's mean in integer units; None is no data."""
        return self.quality_total / self.quality_n if self.quality_n else None

    @property
    def cost(self) -> float | None:
        return self.cost_total / self.cost_n if self.cost_n else None

    def fold(self, rows: Rows, keep: Mask, quality: IntArray, cost: IntArray) -> int:
        """Takes in rows up to the one that freezes it; gives how many rows it took."""
        control = keep & (rows.arm == CONTROL)
        scored = control & (quality != MISSING)
        seen = _reached(self.units, rows.unit, control if rows.exposure else np.zeros_like(control), REFERENCE_UNITS)
        judged = _reached(self.judged, rows.unit, scored, REFERENCE_JUDGED)
        end = min(max(seen, judged), rows.size)
        self.frozen = max(seen, judged) <= rows.size
        paid = control & (cost != MISSING)
        self.quality_n, self.quality_total = _added(self.quality_n, self.quality_total, quality[:end][scored[:end]])
        self.cost_n, self.cost_total = _added(self.cost_n, self.cost_total, cost[:end][paid[:end]])
        if self.frozen:
            self.units, self.judged = {}, {}
        return end


def _reached(known: dict[int, bool], unit: UnitArray, chosen: Mask, wanted: int) -> int:
    """Adds units to the known ones until there are as many as wanted; after how many rows that was, or size + 1."""
    if len(known) >= wanted:
        return 0
    rows: list[int] = indices(chosen).tolist()
    for row in rows:
        known[int(unit[row])] = True
        if len(known) >= wanted:
            return row + 1
    return unit.size + 1


def _added(n: int, total: int, x: IntArray) -> tuple[int, int]:
    return n + x.size, total + int(x.sum())
