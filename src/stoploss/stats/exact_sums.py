"""Exact sums of squares of integers, beyond 64 bits, as three int64 limbs that add in any order.

With |x| = a * 2**20 + b, x**2 = a**2 * 2**40 + 2ab * 2**20 + b**2. Each part is below 2**40 (2ab: 2**41, so ab is
summed and doubled afterwards); over a block of at most 2**13 rows np.bincount adds them in float64 below 2**53,
hence exactly. Limbs are kept canonical (the lower two are digits of base 2**20), so that equal sums are equal limbs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stoploss.stats.errors import StatisticsInputError, require_count

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

BITS: Final = 40
BLOCK_ROWS: Final = 8192
_DIGIT_BITS: Final = 20
_DIGIT_MASK: Final = (1 << _DIGIT_BITS) - 1


def zero_squares(cells: int) -> IntArray:
    """The empty state: int64 limbs of shape (3, cells)."""
    return np.zeros((3, cells), dtype=np.int64)


def fold_squares(limbs: IntArray, cell: IntArray, x: IntArray) -> IntArray:
    """The limbs with a block of values added.

    limbs  int64, (3, cells), canonical
    cell   int64, (rows,): the cell of each row, 0 to cells - 1; rows <= 8192
    x      int64, (rows,): strictly between -2**40 and 2**40

    >>> limbs = fold_squares(zero_squares(2), np.array([0, 1, 1]), np.array([3, -(2**39), 5]))
    >>> total(limbs, 0), total(limbs, 1) == 2**78 + 25
    (9, True)
    """
    _require_cells(limbs, cell, x)
    return add_parts(limbs, square_parts(x), lambda part: np.bincount(cell, part, minlength=limbs.shape[1]))


@dataclass(frozen=True, slots=True)
class SquareParts:
    """The squares of a block of values, ready to be summed, in up to three parts.

    limbs  of each part: the limb it belongs to; times: how often it counts
    parts  whole numbers below 2**40 as float64, (rows,) each: what np.bincount sums without converting them again
    """

    limbs: tuple[int, ...]
    times: tuple[int, ...]
    parts: tuple[FloatArray, ...]


def square_parts(x: IntArray) -> SquareParts:
    """x is int64, (rows,): strictly between -2**40 and 2**40. Small values make small squares, of fewer parts."""
    magnitude = np.abs(x)
    largest = _require_values(x, magnitude)
    if largest < 1 << _DIGIT_BITS:
        return SquareParts((0,), (1,), ((magnitude * magnitude).astype(np.float64),))
    if largest < 1 << 31:
        square = magnitude * magnitude
        low, high = square & ((1 << 2 * _DIGIT_BITS) - 1), square >> 2 * _DIGIT_BITS
        return SquareParts((0, 2), (1, 1), (low.astype(np.float64), high.astype(np.float64)))
    high, low = (magnitude >> _DIGIT_BITS).astype(np.float64), (magnitude & _DIGIT_MASK).astype(np.float64)
    return SquareParts((0, 1, 2), (1, 2, 1), (low * low, high * low, high * high))


def add_parts(limbs: IntArray, squares: SquareParts, summed: Callable[[FloatArray], npt.NDArray[Any]]) -> IntArray:
    """The limbs with a block of at most BLOCK_ROWS values added, whose parts are known already.

    summed  the sums of a part, by cell: whole numbers below 2**53
    """
    added = list(limbs)
    for limb, times, part in zip(squares.limbs, squares.times, squares.parts, strict=True):
        added[limb] = added[limb] + times * summed(part).astype(np.int64)
    return _canonical(*added)


def total(limbs: IntArray, cell: int) -> int:
    """The exact sum of squares of one cell, as a Python integer."""
    return joined(*limbs[:, cell].tolist())


def joined(low: int, middle: int, high: int) -> int:
    """The number whose limbs these are.

    >>> joined(5, 1, 0)
    1048581
    """
    return low + (middle << _DIGIT_BITS) + (high << 2 * _DIGIT_BITS)


def mean_and_variance(n: int, sum_x: int, sum_squares: int) -> tuple[float, float | None]:
    """Mean and unbiased variance from exact sums, each rounded once; no variance (None) of a single value.

    n            values, >= 1
    sum_x        their sum, in the metric's unit; the mean has the same unit
    sum_squares  the sum of their squares, in the unit squared; so has the variance

    >>> mean_and_variance(3, 6_000_000_003, 12_000_000_012_000_000_005)
    (2000000001.0, 1.0)
    """
    require_count("n", n, at_least=1)
    spread = n * sum_squares - sum_x * sum_x
    if spread < 0:
        raise StatisticsInputError(
            f"sum_squares is {sum_squares!r}; {n} values that sum to {sum_x} have more than that"
        )
    return sum_x / n, spread / (n * (n - 1)) if n > 1 else None


def _canonical(low: IntArray, middle: IntArray, high: IntArray) -> IntArray:
    middle = middle + (low >> _DIGIT_BITS)
    return np.stack([low & _DIGIT_MASK, middle & _DIGIT_MASK, high + (middle >> _DIGIT_BITS)])


def _require_values(x: IntArray, magnitude: IntArray) -> int:
    """The largest magnitude. That of -2**63 is negative."""
    largest = int(magnitude.max()) if x.size else 0
    if not (largest < 1 << BITS and (not x.size or magnitude.min() >= 0)):
        raise StatisticsInputError(
            f"x reaches from {x.min()} to {x.max()}; each must lie strictly between -2**{BITS} and 2**{BITS}"
        )
    return largest


def _require_cells(limbs: IntArray, cell: IntArray, x: IntArray) -> None:
    if cell.shape != x.shape or x.ndim != 1 or x.size > BLOCK_ROWS:
        raise StatisticsInputError(
            f"cell has shape {cell.shape} and x {x.shape}; both must be (rows,) with at most {BLOCK_ROWS} rows"
        )
    if x.size and not (cell.min() >= 0 and cell.max() < limbs.shape[1]):
        raise StatisticsInputError(f"cell reaches from {cell.min()} to {cell.max()}; there are {limbs.shape[1]} cells")
