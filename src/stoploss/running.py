"""The running metrics of every variant in every cell, that people plot: rows, mean, deviation, quantiles.

The cells of all dimensions stand in one array after the other, so that a block's rows are added to all of them at once:
place start + arm * cells + cell, where start is that of the dimension. All sums are exact integers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from stoploss.arrays import indices
from stoploss.commands import round_significant
from stoploss.measures import ArmMeasure
from stoploss.metrics import MISSING
from stoploss.segments import NO_CELL, Dimension, grown
from stoploss.stats import exact_sums, histogram

IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Moments = tuple[int, float | None, float | None]

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the rows of a block belong, in totals of all dimensions.

    row     of each place: the row that it takes; None: each dimension takes all rows, in order
    flat    place in the totals; n: rows that each place gets
    shape   arms, and cells of each dimension; joint: place of each row in an array of it. None: it would be larger
            than the block, or a row lacks a cell
    """

    row: IntArray | None
    flat: IntArray
    n: IntArray
    shape: tuple[int, ...]
    joint: IntArray | None

    def spread(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column of the rows, once for each place."""
        return np.tile(values, len(self.shape) - 1) if self.row is None else values[self.row]

    def sums(self, values: npt.NDArray[np.float64]) -> IntArray:
        """Of whole numbers whose sum is below 2**53, by place.

        Rows are added to their joint cell once, and whole joint cells to each dimension: a quarter of the work with
        four dimensions.
        """
        if self.joint is None:
            return np.bincount(self.flat, self.spread(values), minlength=self.n.size).astype(np.int64)
        joint = np.bincount(self.joint, values, minlength=math.prod(self.shape)).reshape(self.shape)
        return np.concatenate([joint.sum(axis=others).reshape(-1) for others in _all_but_each(len(self.shape))]).astype(
            np.int64
        )


@cache
def _all_but_each(axes: int) -> tuple[tuple[int, ...], ...]:
    """For each axis but the first: all others but the first.

    >>> _all_but_each(4)
    ((2, 3), (1, 3), (1, 2))
    """
    return tuple(tuple(axis for axis in range(1, axes) if axis != kept) for kept in range(1, axes))


@dataclass(frozen=True, slots=True)
class Grid:
    """The rows of a block by arm and by cell of each dimension, prepared once for all metrics.

    known  places as they were asked for: nearly all metrics have the same dimensions, with as much room
    """

    arm: IntArray
    cells: dict[str, IntArray]
    known: dict[tuple[tuple[str, int], ...], Places] = field(default_factory=dict)

    def only(self, chosen: Mask) -> Grid:
        """Those of the rows alone that are chosen."""
        return Grid(self.arm[chosen], {name: cell[chosen] for name, cell in self.cells.items()})

    def needed(self) -> dict[str, int]:
        """Cells that must have room, by dimension; without those in which no row has a cell."""
        highest = {name: int(cell.max(initial=NO_CELL)) for name, cell in self.cells.items()}
        return {name: cell + 1 for name, cell in highest.items() if cell != NO_CELL}

    def places(self, room: Mapping[str, int]) -> Places:
        layout = tuple(room.items())
        if layout not in self.known:
            self.known[layout] = self._places(room)
        return self.known[layout]

    def _places(self, room: Mapping[str, int]) -> Places:
        flat, start = [], 0
        for name, cells in room.items():
            cell = self.cells[name]
            flat.append(np.where(cell == NO_CELL, NO_CELL, start + self.arm * cells + cell))
            start += 2 * cells
        joined = np.concatenate(flat)
        there = joined != NO_CELL
        row = None if there.all() else np.tile(np.arange(self.arm.size), len(room))[there]
        joined = joined if row is None else joined[there]
        shape = (2, *room.values())
        small = row is None and math.prod(shape) <= self.arm.size
        return Places(row, joined, np.bincount(joined, minlength=start), shape, self._joint(room) if small else None)

    def _joint(self, room: Mapping[str, int]) -> IntArray:
        place = self.arm
        for name, cells in room.items():
            place = place * cells + self.cells[name]
        return place


@dataclass(slots=True)
class Sums:
    """Running sums of one metric, exact integers, of shape (places,).

    room     cells that each dimension has room for, by the dimension's name
    n, total  rows with a value, and their sum in integer units
    squares  (3, places): limbs of the sum of squares
    quantiles, buckets  rates have none; else (places, BUCKETS)
    """

    room: dict[str, int]
    quantiles: bool
    n: IntArray
    total: IntArray
    squares: IntArray
    buckets: IntArray

    @classmethod
    def none(cls, room: dict[str, int], quantiles: bool) -> Self:
        size = 2 * sum(room.values())
        flat = np.zeros(size, np.int64)
        buckets = np.zeros((size if quantiles else 0, histogram.BUCKETS), np.int64)
        return cls(room, quantiles, flat, flat.copy(), exact_sums.zero_squares(size), buckets)

    def starts(self) -> dict[str, int]:
        """First place of each dimension."""
        starts, start = {}, 0
        for name, cells in self.room.items():
            starts[name], start = start, start + 2 * cells
        return starts

    def grown_to(self, needed: Mapping[str, int]) -> Self:
        """The same sums, with room for these cells."""
        wanted = {name: grown(cells, self.room.get(name, 1)) for name, cells in needed.items()}
        room = dict(sorted({**self.room, **wanted}.items()))
        if room == self.room:
            return self
        larger = type(self).none(room, self.quantiles)
        starts = larger.starts()
        for name, start in self.starts().items():
            for arm in (0, 1):
                old = start + arm * self.room[name] + np.arange(self.room[name])
                new = starts[name] + arm * room[name] + np.arange(self.room[name])
                larger.n[new], larger.total[new], larger.squares[:, new] = (
                    self.n[old],
                    self.total[old],
                    self.squares[:, old],
                )
                if self.quantiles:
                    larger.buckets[new] = self.buckets[old]
        return larger

    def fold(self, grid: Grid, x: IntArray) -> None:
        """Adds the rows of a grid, one value for each; at most 8,192 rows, which np.bincount adds exactly."""
        places = grid.places(self.room)
        self.n += places.n
        self.total += places.sums(x.astype(np.float64))
        self.squares = exact_sums.add_parts(self.squares, exact_sums.square_parts(x), places.sums)
        if self.quantiles:
            bucket = places.spread(histogram.bucket_of(x))
            np.add.at(self.buckets.reshape(-1), places.flat * histogram.BUCKETS + bucket, 1)

    def moments(self, name: str, cells: int, scale: int) -> list[list[Moments]]:
        """Rows, mean and standard deviation by arm and cell, of so many cells of a dimension, in the metric's unit."""
        start, room = self.starts()[name], self.room[name]
        columns = [column.tolist() for column in (self.n, self.total, *self.squares)]
        return [
            [_moments(scale, *(column[place] for column in columns)) for place in range(first, first + cells)]
            for first in (start, start + room)
        ]

    def quantiles_of(self, name: str, cells: int, scale: int) -> list[list[list[float | None]]]:
        """p50, p95 and p99 by arm and cell, of so many cells of a dimension."""
        if not self.quantiles:
            return [[[None] * len(QUANTILES)] * cells] * 2
        start, room = self.starts()[name], self.room[name]
        counts = [self.buckets[first : first + cells] for first in (start, start + room)]
        found = histogram.quantiles(np.concatenate(counts), QUANTILES)
        rounded = [[None if x is None else round_significant(x / scale) for x in row] for row in found]
        return [rounded[:cells], rounded[cells:]]


@dataclass(slots=True)
class RunningMetrics:
    """Sums by metric, in the order of their names: which had its first row first may depend on how rows are folded."""

    metrics: dict[str, Sums] = field(default_factory=dict)

    def fold(self, metric: str, quantiles: bool, grid: Grid, x: IntArray) -> None:
        """Adds the rows of one metric in all dimensions; rows without a value are left out."""
        present = x != MISSING
        if not present.all():
            index = indices(present)
            grid, x = grid.only(present), x[index]
        if not x.size:
            return
        if metric not in self.metrics:
            self.metrics = dict(sorted({**self.metrics, metric: Sums.none({}, quantiles)}.items()))
        sums = self.metrics[metric] = self.metrics[metric].grown_to(grid.needed())
        sums.fold(grid, x)

    def arms(
        self, variants: tuple[str, str], dimensions: dict[str, Dimension], scales: dict[str, int]
    ) -> tuple[ArmMeasure, ...]:
        """Every metric of every arm and live cell."""
        return tuple(
            measured
            for metric, sums in self.metrics.items()
            for name in sums.room
            for measured in _measures(metric, sums, dimensions[name], variants, scales[metric])
        )


def _measures(metric: str, sums: Sums, dimension: Dimension, variants: tuple[str, str], scale: int) -> list[ArmMeasure]:
    found, cells = [], min(dimension.used, sums.room[dimension.name])
    moments, quantiles = sums.moments(dimension.name, cells, scale), sums.quantiles_of(dimension.name, cells, scale)
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
