"""Segments: which value is which cell.

A dimension has at most CAPACITY values of its own; later ones share the cell `other`. A segment gets its cell with its
PATIENCE-th row, so that the heavy values win the race for cells and a flood of values that come once takes none. Who
waits is counted as Misra & Gries do (Sci. Comput. Program. 2(2), 1982): when there are too many, each loses one row.
A cell is for good. To hand it to a heavier value later could be paid for out of the late weights of the error budget,
but would throw away what every rule knows of it, again whenever the traffic shifts back. The dimension "" has one
value: everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stoploss.arrays import indices
from stoploss.commands import Segment
from stoploss.experiment import OTHER

IntArray = npt.NDArray[np.int64]

EVERYBODY = ""
CAPACITY = 64
PATIENCE = 20
CANDIDATES = 1_024
NO_CODE = 65_535
NO_CELL = -1


@dataclass(slots=True)
class Dimension:
    """Values of one dimension and the cell of each; what comes after CAPACITY values shares the cell `other`.

    patience  rows after which a value gets a cell; before, they are in none
    waiting   rows so far of values without a cell, of at most CANDIDATES values
    """

    name: str
    cells: dict[str, int] = field(default_factory=dict)
    patience: int = 1
    waiting: dict[str, int] = field(default_factory=dict)

    @property
    def used(self) -> int:
        """Cells in use, `other` included once it is needed: 1 to CAPACITY + 1."""
        return max(1, len(self.cells))

    def cells_of(self, values: Sequence[str], codes: npt.NDArray[np.uint16]) -> IntArray:
        """Cell of each row, NO_CELL where it has none. Rows are taken in order, wherever blocks are cut."""
        known = [self.cells.get(value, NO_CELL) for value in values]
        if NO_CELL in known and self._full:
            other = self.cells.setdefault(OTHER, len(self.cells)) if _any_of(known, codes) else NO_CELL
            known = [other if cell == NO_CELL else cell for cell in known]
        of_rows: IntArray = np.array([*known, NO_CELL], np.int64)[np.minimum(codes, len(values))]
        if NO_CELL in known:
            for row in indices((of_rows == NO_CELL) & (codes != NO_CODE)).tolist():
                of_rows[row] = self._cell(values[codes[row]])
        return of_rows

    @property
    def _full(self) -> bool:
        return len(self.cells) >= CAPACITY

    def _cell(self, value: str) -> int:
        """The cell of a value after one more row of it."""
        if value in self.cells:
            return self.cells[value]
        if self._full or value == OTHER:
            return self.cells.setdefault(OTHER, len(self.cells))
        rows = self.waiting.pop(value, 0) + 1
        if rows >= self.patience:
            cell = self.cells.setdefault(value, len(self.cells))
            self.waiting = {} if self._full else self.waiting
            return cell
        self.waiting[value] = rows
        if len(self.waiting) > CANDIDATES:
            self.waiting = {other: seen - 1 for other, seen in self.waiting.items() if seen > 1}
        return NO_CELL

    def segment(self, cell: int) -> Segment | None:
        """The segment of a cell; None for everybody."""
        return None if self.name == EVERYBODY else Segment(self.name, list(self.cells)[cell])


def _any_of(known: list[int], codes: npt.NDArray[np.uint16]) -> bool:
    """Whether a row has a value without a cell; dictionaries may hold values that no row has."""
    return bool((np.array([*known, 0])[np.minimum(codes, len(known))] == NO_CELL).any())


def grown(used: int, size: int) -> int:
    """Cells to make room for: doubling, so that growing stays rare.

    >>> grown(5, 4), grown(3, 4), grown(65, 64)
    (8, 4, 65)
    """
    while size < used:
        size = min(size * 2, CAPACITY + 1)
    return size
