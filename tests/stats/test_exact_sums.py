from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoploss.stats.errors import StatisticsInputError
from stoploss.stats.exact_sums import (
    BLOCK_ROWS,
    fold_squares,
    mean_and_variance,
    total,
    zero_squares,
)

from .properties import STEADY

ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(-(2**40) + 1, 2**40 - 1)), max_size=60)


def folded(rows: list[tuple[int, int]], before: np.ndarray | None = None) -> np.ndarray:
    cell, x = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    return fold_squares(zero_squares(3) if before is None else before, cell, x)


@STEADY
@given(rows=ROWS)
def test_the_sum_of_squares_is_exact(rows: list[tuple[int, int]]) -> None:
    limbs = folded(rows)
    assert [total(limbs, cell) for cell in range(3)] == [sum(x * x for c, x in rows if c == cell) for cell in range(3)]


@STEADY
@given(rows=ROWS, cut=st.integers(0, 60), seed=st.integers(0, 99))
def test_the_order_of_rows_and_where_blocks_are_cut_changes_no_bit(
    rows: list[tuple[int, int]], cut: int, seed: int
) -> None:
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    for head, tail in ((shuffled[:cut], shuffled[cut:]), (shuffled[cut:], shuffled[:cut])):
        assert folded(tail, folded(head)).tolist() == folded(rows).tolist()


@pytest.mark.parametrize("largest", [2**20 - 1, 2**20, 2**31 - 1, 2**31, 2**40 - 1])
def test_values_of_every_size_add_to_those_of_every_other(largest: int) -> None:
    """Squares are cut into as many parts as the largest value of a block needs."""
    limbs = folded([(0, largest), (0, -largest), (1, 3)], folded([(0, 2**40 - 1), (0, 7)]))
    assert [total(limbs, cell) for cell in (0, 1)] == [2 * largest**2 + (2**40 - 1) ** 2 + 49, 9]


def test_full_blocks_of_the_largest_values_stay_exact() -> None:
    largest, limbs = 2**40 - 1, zero_squares(1)
    cell, x = np.zeros(BLOCK_ROWS, np.int64), np.full(BLOCK_ROWS, largest)
    for _ in range(50):
        limbs = fold_squares(limbs, cell, x)
    assert total(limbs, 0) == 50 * BLOCK_ROWS * largest**2
    assert limbs[:2].max() < 2**20


def test_folding_leaves_the_given_limbs_untouched() -> None:
    limbs = zero_squares(1)
    fold_squares(limbs, np.array([0]), np.array([9]))
    assert not limbs.any()


def test_a_small_spread_on_a_large_mean_survives() -> None:
    """In float64 the same formula loses everything: 2**78 swallows a variance of one."""
    values = [2**39 - 1, 2**39, 2**39 + 1]
    assert mean_and_variance(3, sum(values), sum(x * x for x in values)) == (2.0**39, 1.0)


def test_one_value_has_a_mean_and_no_variance() -> None:
    assert mean_and_variance(1, -7, 49) == (-7.0, None)


def test_moments_of_nothing_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match="n is 0"):
        mean_and_variance(0, 0, 0)


def test_a_sum_of_squares_too_small_for_its_sum_is_refused() -> None:
    with pytest.raises(StatisticsInputError, match="sum_squares is 1; 2 values that sum to 4 have more"):
        mean_and_variance(2, 4, 1)


@pytest.mark.parametrize("x", [2**40, -(2**40), -(2**63)])
def test_a_value_that_could_break_exactness_is_refused(x: int) -> None:
    with pytest.raises(StatisticsInputError, match="each must lie strictly between"):
        fold_squares(zero_squares(1), np.array([0]), np.array([x]))


def test_a_block_that_could_break_exactness_is_refused() -> None:
    rows = np.zeros(BLOCK_ROWS + 1, np.int64)
    with pytest.raises(StatisticsInputError, match="at most 8192 rows"):
        fold_squares(zero_squares(1), rows, rows)


@pytest.mark.parametrize("cell", [-1, 3])
def test_a_cell_that_does_not_exist_is_refused(cell: int) -> None:
    with pytest.raises(StatisticsInputError, match="there are 3 cells"):
        fold_squares(zero_squares(3), np.array([cell]), np.array([1]))
