"""What rules fold: the rows of one ledger entry, prepared once for all of them, and the moment they are judged in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from stoploss.arrays import indices
from stoploss.commands import Micros
from stoploss.metrics import MISSING
from stoploss.segments import NO_CELL, Dimension
from stoploss.units import slots

T = TypeVar("T")

IntArray = npt.NDArray[np.int64]
UnitArray = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

CONTROL, TREATMENT = 0, 1


@dataclass(frozen=True, slots=True)
class Places:
    """Where rows belong in totals of (2, cells, groups): flat place of each, how many each place gets, by cell too.

    key    flat place of each in totals of (2, cells)
    slots  of their units in DistinctUnits.taken
    """

    key: IntArray
    flat: IntArray
    n: IntArray
    shown_n: IntArray
    slots: IntArray


@dataclass(frozen=True, slots=True)
class Counted:
    """The rows that count in the contrasts of one dimension: compared, within the day's cap, and in a cell.

    index   of these rows among all, ascending
    cells   so many cells have room for all of them
    places  as they were asked for: all metrics of a dimension have the same ones
    """

    index: IntArray
    arm: IntArray
    cell: IntArray
    unit: UnitArray
    cells: int
    places: dict[tuple[int, int], Places] = field(default_factory=dict)

    @classmethod
    def of(cls, index: IntArray, arm: IntArray, cell: IntArray, unit: UnitArray) -> Counted:
        return cls(index, arm, cell, unit, int(cell.max()) + 1 if cell.size else 0)

    def only(self, chosen: Mask) -> Counted:
        return Counted.of(self.index[chosen], self.arm[chosen], self.cell[chosen], self.unit[chosen])

    def place(self, cells: int, groups: int) -> Places:
        """In totals of so many cells and groups of units, a power of two: the last bits of a hash are the group."""
        found = self.places.get((cells, groups))
        if found is None:
            key = self.arm * cells + self.cell
            flat = key * groups + (self.unit & np.uint64(groups - 1)).astype(np.int64)
            n = np.bincount(flat, minlength=2 * cells * groups).reshape(2, cells, groups)
            found = self.places[cells, groups] = Places(key, flat, n, n.sum(axis=2), slots(key, self.unit))
        return found


def with_value(counted: Counted, x: IntArray) -> tuple[Counted, IntArray]:
    """Those of the rows that have a value in a column of all rows, and their values."""
    x = x[counted.index]
    there = x != MISSING
    return (counted, x) if there.all() else (counted.only(there), x[there])


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of declared variants, trimmed of repeats, in ledger order.

    arm       0 control, 1 treatment
    unit      salted hash of the randomisation unit
    at        event time, microseconds; start: when the request began
    exposure  true: rows of traces; false: rows of outcomes, which tell of no exposure of their own
    compared  the arms may be compared on this row: its epoch is open, its segments are not stopped
    first     first trace of its unit in the experiment
    capped    among the first ten of its unit today
    cells     cell of each row by dimension, -1 where it has no value
    metrics   value of each row by column, metrics.MISSING where it has none
    gates     bits of the gates that the row trips; details in words, by row index
    prepared  what several rules need of the same rows, made once; nothing in it depends on how a rule reads a metric
    """

    arm: IntArray
    unit: UnitArray
    at: IntArray
    start: IntArray
    exposure: bool
    compared: Mask
    first: Mask
    capped: Mask
    cells: dict[str, IntArray]
    metrics: dict[str, IntArray]
    gates: npt.NDArray[np.uint32]
    details: dict[int, str]
    prepared: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def size(self) -> int:
        return int(self.arm.size)

    def with_metric(self, column: str, x: IntArray) -> Rows:
        """The same rows with this column alone; what was prepared stays. Ten times as quick as dataclasses.replace."""
        return Rows(
            self.arm,
            self.unit,
            self.at,
            self.start,
            self.exposure,
            self.compared,
            self.first,
            self.capped,
            self.cells,
            {column: x},
            self.gates,
            self.details,
            self.prepared,
        )

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What was prepared under this name; made where it was not."""
        if name not in self.prepared:
            self.prepared[name] = make()
        found: T = self.prepared[name]
        return found

    def counted(self, dimension: str) -> Counted:
        return self.once(("counted", dimension), lambda: self._counted(dimension))

    def _counted(self, dimension: str) -> Counted:
        cell = self.cells[dimension]
        index = indices(self.compared & self.capped & (cell != NO_CELL))
        return Counted.of(index, self.arm[index], cell[index], self.unit[index])

    @property
    def first_compared(self) -> IntArray:
        """Index of the rows that are compared and the first of their unit."""
        return self.once("first compared", lambda: indices(self.compared & self.first))


def together(parts: Sequence[Rows]) -> Rows:
    """Rows of several ledger entries of one experiment as one, in order.

    Rows of outcomes among those of traces are none of their unit's first, and that is all that tells them apart then.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    names = ("arm", "unit", "at", "start", "compared", "first", "capped", "gates")
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Rows(
        **columns,
        exposure=any(part.exposure for part in parts),
        cells={name: np.concatenate([part.cells[name] for part in parts]) for name in first.cells},
        metrics={name: np.concatenate([_column(part, name) for part in parts]) for name in _all_metrics(parts)},
        details={},
    )


def _all_metrics(parts: Sequence[Rows]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part.metrics))


def _column(part: Rows, name: str) -> IntArray:
    found = part.metrics.get(name)
    return np.full(part.size, MISSING, np.int64) if found is None else found


class Asked(Enum):
    """How much is asked for when rules are judged.

    NEWS  what is worth a look, and may say something else than last time: at each entry
    TICK  everybody too, worth a look or not: at each tick
    ALL   whatever there is to say, news or not: at the ticks that people plot
    PLOT  the same, to be shown and not to be obeyed: of a run that is judged no more
    """

    NEWS = 0
    TICK = 1
    ALL = 2
    PLOT = 3

    @property
    def only_news(self) -> bool:
        return self in (Asked.NEWS, Asked.TICK)


@dataclass(frozen=True, slots=True)
class Moment:
    """When and under which circumstances rules are folded and judged; nothing here comes from a clock of ours.

    at           ledger time, microseconds
    caught_up    every source partition was read to its end when its last status was written
    exposed      the treatment variant is meant to receive traffic
    share        share of traffic of the treatment variant in the open epoch; None: no epoch is open
    dimensions   all segment dimensions
    due          names of those to fold or judge now: everybody at each entry, the segments at each tick
    asked        how much of what the rules could say is asked for
    """

    at: Micros
    caught_up: bool
    exposed: bool
    share: float | None
    dimensions: dict[str, Dimension]
    due: tuple[str, ...]
    asked: Asked = Asked.NEWS
