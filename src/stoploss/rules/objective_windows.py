"""Windows of scores: what was scored is judged only once its window is closed, at a time that no outcome can move.

A unit's window closes a fixed time after its last exposure. Scores that arrive before are held, in slices of ledger
time by that last exposure, and judged together when the slice's windows are all closed; later ones are counted, never
judged. So bad news that travels slowly counts with, and no less than, good news that travels fast. Each return of a
user moves the window on; in an experiment by session it is exactly the session's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import overload

import numpy as np
import numpy.typing as npt

from stoploss.commands import Micros
from stoploss.rules.objective_totals import Totals
from stoploss.rules.rows import IntArray, UnitArray

SECOND = 1_000_000
CELLS = 1 << 16
SLICES = 8
NEVER = 0

LATE = "scored after its window closed"
UNEXPOSED = "scored, but not exposed in the epoch that is open"
CUT = "its epoch ended before its score window closed"


def _no_exposures() -> npt.NDArray[np.uint32]:
    return np.zeros(CELLS, np.uint32)


@dataclass(slots=True)
class Windows:
    """last: slice of each unit's last exposure in the epoch, by 16 bits of its hash, shared by both arms alike.

    held     totals whose windows are open, by slice
    refused  scores that will never be judged, by cause; those who say so take them from here
    """

    last: npt.NDArray[np.uint32] = field(default_factory=_no_exposures)
    held: dict[int, Totals] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def expose(self, unit: UnitArray, at: IntArray, closes_after_s: int) -> None:
        np.maximum.at(self.last, _cell(unit), slice_of(at, closes_after_s).astype(np.uint32))

    def slices(self, unit: UnitArray, at: IntArray, closes_after_s: int) -> IntArray:
        """Slice that each scored row waits in; NEVER where its window is closed, which is counted."""
        last = self.last[_cell(unit)].astype(np.int64)
        closed = at >= closing(last, closes_after_s)
        self.refuse(UNEXPOSED, int(np.count_nonzero(last == NEVER)))
        self.refuse(LATE, int(np.count_nonzero(closed & (last != NEVER))))
        slices: IntArray = np.where(closed, NEVER, last)
        return slices

    def refuse(self, cause: str, rows: int) -> None:
        if rows:
            self.refused[cause] = self.refused.get(cause, 0) + rows

    def hold(self, number: int, events: int) -> Totals:
        if number not in self.held:
            self.held[number] = Totals.none(events)
        return self.held[number]

    def due(self, at: Micros, closes_after_s: int) -> list[Totals]:
        """What the windows that have closed by now held, oldest first."""
        numbers = sorted(number for number in self.held if at >= closing(number, closes_after_s))
        return [self.held.pop(number) for number in numbers]

    def end_epoch(self) -> None:
        """Arms are compared within an epoch only, and what is held of this one will not be whole."""
        self.refuse(CUT, sum(int(totals.quality.n.sum()) for totals in self.held.values()))
        self.held, self.last = {}, _no_exposures()


def _width_s(closes_after_s: int) -> int:
    return max(1, -(-closes_after_s // SLICES))


def slice_of(at: IntArray, closes_after_s: int) -> IntArray:
    """
    >>> slice_of(np.array([1_000_000_000]), 800).tolist()
    [10]
    """
    return at // (_width_s(closes_after_s) * SECOND)


@overload
def closing(number: int, closes_after_s: int) -> Micros: ...
@overload
def closing(number: IntArray, closes_after_s: int) -> IntArray: ...
def closing(number: IntArray | int, closes_after_s: int) -> IntArray | Micros:
    """Ledger time at which the windows of a slice are all closed.

    >>> closing(10, 800) == (1_100 + 800) * 1_000_000
    True
    """
    return (number + 1) * (_width_s(closes_after_s) * SECOND) + closes_after_s * SECOND


def _cell(unit: UnitArray) -> IntArray:
    cell: IntArray = ((unit >> np.uint64(8)) & np.uint64(CELLS - 1)).astype(np.int64)
    return cell
