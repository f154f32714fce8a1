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
Moments = tuple[int, float | None, float | None]

EVERYBODY = ""
CAPACITY = 64
PATIENCE = 20
CANDIDATES = 1_024
NO_CODE = 65_535
QUANTILES = (0.5, 0.95, 0.99)
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
class Grid:
    """The rows of a block by arm and cell of one dimension, prepared once for all metrics.

    inside  index of the rows that have a cell; None: all have one
    arm, cell  of these rows; cells: so many have room for them
    keys    flat place of each in totals of (2, cells), and how many each place gets, as they were asked for
    """

    inside: IntArray | None
    arm: IntArray
    cell: IntArray
    cells: int
    keys: dict[int, tuple[IntArray, IntArray]] = field(default_factory=dict)

    @classmethod
    def of(cls, arm: IntArray, cell: IntArray) -> Self:
        there = cell != NO_CELL
        inside = None if there.all() else np.flatnonzero(there)
        if inside is not None:
            arm, cell = arm[inside], cell[inside]
        return cls(inside, arm, cell, int(cell.max()) + 1 if cell.size else 0)

    def only(self, chosen: npt.NDArray[np.bool_]) -> Grid:
        """Those of the block's rows alone that are chosen."""
        cell = np.full(chosen.size, NO_CELL)
        arm = np.zeros(chosen.size, np.int64)
        inside = slice(None) if self.inside is None else self.inside
        cell[inside], arm[inside] = self.cell, self.arm
        return Grid.of(arm[chosen], cell[chosen])

    def key(self, cells: int) -> tuple[IntArray, IntArray]:
        if cells not in self.keys:
            key = self.arm * cells + self.cell
            self.keys[cells] = key, np.bincount(key, minlength=2 * cells).reshape(2, cells)
        return self.keys[cells]


@dataclass(frozen=True, slots=True)
class Values:
    """Values of one metric, prepared once for all dimensions.

    x        the values as float64, which holds them exactly and is what np.bincount sums
    bucket   of the histogram; None for rates, which have no quantiles
    """

    x: npt.NDArray[np.float64]
    squares: exact_sums.SquareParts
    bucket: IntArray | None

    @classmethod
    def of(cls, x: IntArray, quantiles: bool) -> Self:
        bucket = histogram.bucket_of(x) if quantiles else None
        return cls(x.astype(np.float64), exact_sums.square_parts(x), bucket)

    def take(self, index: IntArray) -> Values:
        bucket = None if self.bucket is None else self.bucket[index]
        return Values(self.x[index], self.squares.take(index), bucket)


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

    def fold(self, grid: Grid, values: Values) -> None:
        """Adds the rows of a grid, one value for each; at most 8,192 rows."""
        shape = self.n.shape
        key, n = grid.key(shape[1])
        self.n += n
        self.total += np.bincount(key, values.x, minlength=n.size).astype(np.int64).reshape(shape)
        self.squares = exact_sums.fold_parts(self.squares, key, values.squares)
        if values.bucket is not None:
            np.add.at(self.buckets.reshape(-1), key * histogram.BUCKETS + values.bucket, 1)

    def moments(self, cells: int, scale: int) -> list[list[Moments]]:
        """Rows, mean and standard deviation by arm and cell, of so many cells, in the metric's own unit."""
        n, total = self.n[:, :cells].tolist(), self.total[:, :cells].tolist()
        limbs = self.squares.reshape(3, 2, -1)[:, :, :cells].tolist()
        arms = zip(n, total, *limbs, strict=True)
        return [[_moments(scale, *one) for one in zip(*arm, strict=True)] for arm in arms]

    def quantiles(self, cells: int, scale: int) -> list[list[list[float | None]]]:
        """p50, p95 and p99 by arm and cell, of so many cells."""
        if not self.buckets.shape[1]:
            return [[[None] * len(QUANTILES)] * cells] * 2
        found = histogram.quantiles(self.buckets[:, :cells].reshape(-1, histogram.BUCKETS), QUANTILES)
        rounded = [[None if x is None else round_significant(x / scale) for x in row] for row in found]
        return [rounded[:cells], rounded[cells:]]


@dataclass(slots=True)
class SegmentMetrics:
    """Running metrics by metric and dimension, both in the order of their names: which of them had its first row first
    may depend on how rows are folded together."""

    cells: dict[str, dict[str, CellMetrics]] = field(default_factory=dict)

    def fold(self, metric: str, quantiles: bool, grids: Mapping[str, Grid], x: IntArray) -> None:
        """Adds the rows of one metric in all dimensions; rows without a value are left out."""
        present = x != MISSING
        if not present.all():
            index = np.flatnonzero(present)
            grids, x = {name: grid.only(present) for name, grid in grids.items()}, x[index]
        if not x.size:
            return
        values = Values.of(x, quantiles)
        if metric not in self.cells:
            self.cells = dict(sorted({**self.cells, metric: {}}.items()))
        dims = self.cells[metric]
        for name, grid in grids.items():
            _fold_dimension(dims, name, grid, values)
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


def _fold_dimension(dims: dict[str, CellMetrics], name: str, grid: Grid, values: Values) -> None:
    if not grid.cells:
        return
    if grid.inside is not None:
        values = values.take(grid.inside)
    state = dims.get(name)
    if state is None:
        state = dims[name] = CellMetrics.none(grown(grid.cells, 1), values.bucket is not None)
    if grid.cells > state.n.shape[1]:
        state.grow(grown(grid.cells, state.n.shape[1]))
    state.fold(grid, values)


def _measures(
    metric: str, state: CellMetrics, dimension: Dimension, variants: tuple[str, str], scale: int
) -> list[ArmMeasure]:
    found, cells = [], min(dimension.used, state.n.shape[1])
    moments, quantiles = state.moments(cells, scale), state.quantiles(cells, scale)
    for cell in range(cells):
        segment = dimension.segment(cell)
        for arm, variant in enumerate(variants):
            n, mean, deviation = moments[arm][cell]
            if n:
                found.append(ArmMeasure(variant, segment, metric, n, mean, deviation, *quantiles[arm][cell]))
    return found


def _moments(scale: int, n: int, total: int, low: int, middle: int, high: int) -> Moments:
    """From exact sums; None is no data."""
    if not n:
        return 0, None, None
    mean, variance = exact_sums.mean_and_variance(n, total, exact_sums.joined(low, middle, high))
    deviation = None if variance is None else round_significant(variance**0.5 / scale)
    return n, round_significant(mean / scale), deviation
