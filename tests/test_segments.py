from __future__ import annotations

import numpy as np
import pytest

from stoploss.commands import Segment
from stoploss.segments import CAPACITY, NO_CELL, NO_CODE, Dimension, grown


def codes(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint16)


def test_values_become_cells_in_the_order_of_their_first_row() -> None:
    dimension = Dimension("tenant")
    assert dimension.cells_of(["a", "b", "c"], codes(2, 0, 2, 1)).tolist() == [0, 1, 0, 2]
    assert list(dimension.cells) == ["c", "a", "b"]


def test_a_row_without_a_value_has_no_cell() -> None:
    assert Dimension("tenant").cells_of(["a"], codes(0, NO_CODE)).tolist() == [0, NO_CELL]


def test_another_dictionary_finds_the_same_cells() -> None:
    dimension = Dimension("tenant")
    dimension.cells_of(["a", "b"], codes(0, 1))
    assert dimension.cells_of(["b", "a", "unused"], codes(0, 1)).tolist() == [1, 0]
    assert "unused" not in dimension.cells


def test_what_comes_after_the_capacity_shares_one_cell() -> None:
    dimension = Dimension("tenant")
    values = [f"t{number}" for number in range(CAPACITY + 100)]
    cells = dimension.cells_of(values, np.arange(CAPACITY + 100, dtype=np.uint16))
    assert cells[:CAPACITY].tolist() == list(range(CAPACITY))
    assert set(cells[CAPACITY:].tolist()) == {CAPACITY}
    assert dimension.segment(CAPACITY) == Segment("tenant", "other")
    assert dimension.used == CAPACITY + 1


def test_a_value_that_calls_itself_other_is_other() -> None:
    dimension = Dimension("tenant")
    first = dimension.cells_of(["other", "a"], codes(0, 1)).tolist()
    values = [f"t{number}" for number in range(200)]
    late = dimension.cells_of(values, np.arange(200, dtype=np.uint16))
    assert late[-1] == first[0]
    assert dimension.used <= CAPACITY + 1


def test_everybody_is_no_segment() -> None:
    assert Dimension("", {"": 0}).segment(0) is None


@pytest.mark.parametrize(("used", "size", "to"), [(1, 1, 1), (3, 1, 4), (33, 32, 64), (65, 1, 65), (65, 64, 65)])
def test_room_doubles_up_to_the_capacity_and_other(used: int, size: int, to: int) -> None:
    assert grown(used, size) == to
