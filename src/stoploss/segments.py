"""Segments: which value is which cell, and the running metrics of every variant in every cell.

A dimension has at most CAPACITY values of its own; later ones share the cell `other`. A segment gets its cell with its
PATIENCE-th row, so that the heavy values win the race for cells and a flood of values that come once takes none. Who
waits is counted as Misra & Gries do (Sci. Comput. Program. 2(2), 1982): when there are too many, each loses one row.
A cell is for good. To hand it to a heavier value later could be paid for out of the late weights of the error budget,
but would throw away what every rule knows of it, again whenever the traffic shifts back. The dimension "" has one
value: everybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from stoploss.commands import Segment, round_significant
from stoploss.experiment import OTHER
from stoploss.measures import ArmMeasure
from stoploss.metrics import MISSING
from stoploss.stats import exact_sums, histogram

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
            for row in np.flatnonzero((of_rows == NO_CELL) & (codes != NO_CODE)).tolist():
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


@dataclass(frozen=True, slots=True)
class Values:
    """The rows of a block that have a value of one metric, prepared once for all dimensions.

    x        the values as float64, which holds them exactly and is what np.bincount sums
    bucket   of the histogram; None for rates, which have no quantiles
    """

    arm: IntArray
    x: npt.NDArray[np.float64]
    squares: exact_sums.SquareParts
    bucket: IntArray | None

    @classmethod
    def of(cls, arm: IntArray, x: IntArray, quantiles: bool) -> Self:
        bucket = histogram.bucket_of(x) if quantiles else None
        return cls(arm, x.astype(np.float64), exact_sums.square_parts(x), bucket)

    def take(self, keep: npt.NDArray[np.bool_]) -> Values:
        squares = exact_sums.SquareParts(self.squares.low[keep], self.squares.middle[keep], self.squares.high[keep])
        bucket = None if self.bucket is None else self.bucket[keep]
        return Values(self.arm[keep], self.x[keep], squares, bucket)


@dataclass(slots=True)
class CellMetrics:
    """Running sums of one metric in one dimension, exact integers.

    n, total  (2, cells) int64: rows with a value, and their sum in integer units
    squares   (3, 2 * cells) int64: limbs of the sum of squares
    buckets   (2, cells, BUCKETS) int64 for quantiles; no cells for rates, which have none
    """

    n: IntArray
    total: IntArray
    squares: IntArray
    buckets: IntArray

    @classmethod
    def none(cls, cells: int, quantiles: bool) -> CellMetrics:
        shape = (2, cells if quantiles else 0, histogram.BUCKETS)
        return cls(
            np.zeros((2, cells), np.int64),
            np.zeros((2, cells), np.int64),
            exact_sums.zero_squares(2 * cells),
            np.zeros(shape, np.int64),
        )

    def grow(self, cells: int) -> None:
        more = cells - self.n.shape[1]
        self.n, self.total = np.pad(self.n, ((0, 0), (0, more))), np.pad(self.total, ((0, 0), (0, more)))
        limbs = self.squares.reshape(3, 2, -1)
        self.squares = np.pad(limbs, ((0, 0), (0, 0), (0, more))).reshape(3, -1)
        if self.buckets.shape[1]:
            self.buckets = np.pad(self.buckets, ((0, 0), (0, more), (0, 0)))

    def fold(self, cell: IntArray, values: Values) -> None:
        """Adds rows that have a value, each in its arm and cell; at most 8,192 rows."""
        cells = self.n.shape[1]
        key = values.arm * cells + cell
        self.n += np.bincount(key, minlength=2 * cells).reshape(2, cells)
        self.total += np.bincount(key, values.x, minlength=2 * cells).astype(np.int64).reshape(2, cells)
        self.squares = exact_sums.fold_parts(self.squares, key, values.squares)
        if values.bucket is not None:
            np.add.at(self.buckets.reshape(-1), key * histogram.BUCKETS + values.bucket, 1)

    def measure(self, arm: int, cell: int, scale: int) -> tuple[int, float | None, float | None, list[float | None]]:
        """Rows, mean, standard deviation and p50, p95, p99, in the metric's own unit; None is no data."""
        n = int(self.n[arm, cell])
        if not n:
            return 0, None, None, [None, None, None]
        squares = exact_sums.total(self.squares, arm * self.n.shape[1] + cell)
        mean, variance = exact_sums.mean_and_variance(n, int(self.total[arm, cell]), squares)
        deviation = None if variance is None else round_significant(variance**0.5 / scale)
        return n, round_significant(mean / scale), deviation, self._quantiles(arm, cell, scale)

    def _quantiles(self, arm: int, cell: int, scale: int) -> list[float | None]:
        if not self.buckets.shape[1]:
            return [None, None, None]
        found = histogram.quantiles(self.buckets[arm, cell], (0.5, 0.95, 0.99))
        return [None if value is None else round_significant(value / scale) for value in found]


@dataclass(slots=True)
class SegmentMetrics:
    """Running metrics by metric and dimension, both in the order of their names: which of them had its first row first
    may depend on how rows are folded together."""

    cells: dict[str, dict[str, CellMetrics]] = field(default_factory=dict)

    def fold(self, metric: str, quantiles: bool, arm: IntArray, cells: Mapping[str, IntArray], x: IntArray) -> None:
        """Adds the rows of one metric in all dimensions; rows without value or cell are left out.

        cells  cell of each row by name of the dimension
        """
        present = x != MISSING
        if not present.any():
            return
        whole = bool(present.all())
        values = Values.of(arm, x, quantiles) if whole else Values.of(arm[present], x[present], quantiles)
        if metric not in self.cells:
            self.cells = dict(sorted({**self.cells, metric: {}}.items()))
        dims = self.cells[metric]
        for name, cell in cells.items():
            _fold_dimension(dims, name, cell if whole else cell[present], values)
        if list(dims) != sorted(dims):
            self.cells[metric] = dict(sorted(dims.items()))

    def arms(
        self, variants: tuple[str, str], dimensions: dict[str, Dimension], scales: dict[str, int]
    ) -> tuple[ArmMeasure, ...]:
        """Every metric of every arm and live cell."""
        return tuple(
            measured
            for metric, dims in self.cells.items()
            for name, state in dims.items()
            for measured in _measures(metric, state, dimensions[name], variants, scales[metric])
        )


def _fold_dimension(dims: dict[str, CellMetrics], name: str, cell: IntArray, values: Values) -> None:
    inside = cell != NO_CELL
    if not inside.all():
        cell, values = cell[inside], values.take(inside)
    if not cell.size:
        return
    state, used = dims.get(name), int(cell.max()) + 1
    if state is None:
        state = dims[name] = CellMetrics.none(grown(used, 1), values.bucket is not None)
    if used > state.n.shape[1]:
        state.grow(grown(used, state.n.shape[1]))
    state.fold(cell, values)


def _measures(
    metric: str, state: CellMetrics, dimension: Dimension, variants: tuple[str, str], scale: int
) -> list[ArmMeasure]:
    found = []
    for cell in range(min(dimension.used, state.n.shape[1])):
        for arm, variant in enumerate(variants):
            n, mean, deviation, (p50, p95, p99) = state.measure(arm, cell, scale)
            if n:
                found.append(ArmMeasure(variant, dimension.segment(cell), metric, n, mean, deviation, p50, p95, p99))
    return found
