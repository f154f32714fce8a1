"""Exact sums of squares of integers, beyond 64 bits, as three int64 limbs that add in any order.

With |x| = a * 2**20 + b, x**2 = a**2 * 2**40 + 2ab * 2**20 + b**2. Each part is below 2**40 (2ab: 2**41, so ab is
summed and doubled afterwards); over a block of at most 2**13 rows np.bincount adds them in float64 below 2**53,
hence exactly. Limbs are kept canonical (the lower two are digits of base 2**20), so that equal sums are equal limbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
    return fold_parts(limbs, cell, square_parts(x))


@dataclass(frozen=True, slots=True)
class SquareParts:
    """The squares of a block of values, ready to be summed in any number of ways: low, middle and high part of each.

    Whole numbers below 2**40 as float64, (rows,) each: what np.bincount sums without converting them again.
    """

    low: FloatArray
    middle: FloatArray
    high: FloatArray


def square_parts(x: IntArray) -> SquareParts:
    """x is int64, (rows,): strictly between -2**40 and 2**40."""
    _require_values(x)
    magnitude = np.abs(x)
    high, low = (magnitude >> _DIGIT_BITS).astype(np.float64), (magnitude & _DIGIT_MASK).astype(np.float64)
    return SquareParts(low * low, high * low, high * high)


def fold_parts(limbs: IntArray, cell: IntArray, parts: SquareParts) -> IntArray:
    """As fold_squares, of values whose parts are known already."""
    _require_cells(limbs, cell, parts.low)
    cells = limbs.shape[1]
    low, middle, high = (
        np.bincount(cell, part, minlength=cells).astype(np.int64) for part in (parts.low, parts.middle, parts.high)
    )
    return _canonical(limbs[0] + low, limbs[1] + 2 * middle, limbs[2] + high)


def merge_squares(a: IntArray, b: IntArray) -> IntArray:
    """The sum of two states of the same shape, canonical again."""
    if a.shape != b.shape:
        raise StatisticsInputError(f"limbs have shapes {a.shape} and {b.shape}; both must be (3, cells)")
    return _canonical(*(a + b))


def total(limbs: IntArray, cell: int) -> int:
    """The exact sum of squares of one cell, as a Python integer."""
    low, middle, high = limbs[:, cell].tolist()
    return int(low + (middle << _DIGIT_BITS) + (high << 2 * _DIGIT_BITS))


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


def _require_values(x: IntArray) -> None:
    if x.size and not (x.min() > -(1 << BITS) and x.max() < 1 << BITS):
        raise StatisticsInputError(
            f"x reaches from {x.min()} to {x.max()}; each must lie strictly between -2**{BITS} and 2**{BITS}"
        )


def _require_cells(limbs: IntArray, cell: IntArray, x: FloatArray) -> None:
    if cell.shape != x.shape or x.ndim != 1 or x.size > BLOCK_ROWS:
        raise StatisticsInputError(
            f"cell has shape {cell.shape} and x {x.shape}; both must be (rows,) with at most {BLOCK_ROWS} rows"
        )
    if x.size and not (cell.min() >= 0 and cell.max() < limbs.shape[1]):
        raise StatisticsInputError(f"cell reaches from {cell.min()} to {cell.max()}; there are {limbs.shape[1]} cells")
