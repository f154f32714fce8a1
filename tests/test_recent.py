"""Repeats among the last 65,536 traces, as a plain list of them would find them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import numpy as np
import pytest

from stoploss.recent import RECENT_TRACES, RecentTraces


class ByHand:
    """What RecentTraces promises, row by row."""

    def __init__(self) -> None:
        self.order: OrderedDict[int, None] = OrderedDict()

    def fresh(self, trace: np.ndarray) -> list[bool]:
        return [self._is_fresh(known) for known in trace.tolist()]

    def _is_fresh(self, known: int) -> bool:
        if known in self.order:
            return False
        self.order[known] = None
        if len(self.order) > RECENT_TRACES:
            self.order.popitem(last=False)
        return True


def assert_same(blocks: Iterable[np.ndarray]) -> None:
    table, plain = RecentTraces(), ByHand()
    for number, block in enumerate(blocks):
        assert table.fresh(block).tolist() == plain.fresh(block)
        assert table.to_plain().tolist() == list(plain.order)
        if number % 3 == 2:
            table = RecentTraces.from_plain(table.to_plain())
        assert table.holds(block).all()


def test_new_traces_and_repeats_near_and_far_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    some = rng.integers(0, 2**64, 100_000, dtype=np.uint64)
    assert_same(some[np.maximum(0, start - rng.integers(0, 80_000, 5_000))] for start in range(0, 100_000, 5_000))


@pytest.mark.parametrize("rows", [1, 7, 8_192])
def test_a_trace_that_is_forgotten_in_the_middle_of_a_block_is_new_again_from_there_on(rows: int) -> None:
    full = np.arange(RECENT_TRACES, dtype=np.uint64)
    oldest = np.array([5, 1 << 63, 5, 0, 1 << 62, 1 << 62, 3, 1 << 61, 3], np.uint64)
    parts = [full[start : start + 8_192] for start in range(0, full.size, 8_192)]
    assert_same([*parts, *(oldest[start : start + rows] for start in range(0, oldest.size, rows))])


def test_traces_that_share_a_place_are_kept_apart() -> None:
    some = np.arange(1 << 22, dtype=np.uint64)
    full = RecentTraces.from_plain(some[:RECENT_TRACES])
    shared = some[full._place(some) < 3]
    assert shared.size > 40
    assert_same([some[: RECENT_TRACES // 8], shared[:20], shared[10:30], shared[::-1]])


def test_nothing_is_held_before_anything_came() -> None:
    assert not RecentTraces().holds(np.array([0, 1], np.uint64)).any()


@pytest.mark.parametrize("first", [1, 1_023, 1_024, 5_000])
def test_a_table_that_grew_remembers_what_it_held_before(first: int) -> None:
    """Whether it grows by a row or by a block, and by more than its double at once."""
    some = np.random.default_rng(first).integers(0, 2**64, 30_000, dtype=np.uint64)
    grown = RecentTraces()
    small = grown.last.size
    blocks = [
        some[:first],
        some[first : first + 1],
        some[:8_192],
        some[8_192:16_384],
        some[4_096:8_192],
        some[16_384:24_576],
    ]
    assert [grown.fresh(block).sum() for block in blocks] == [first, 1, 8_192 - first - 1, 8_192, 0, 8_192]
    assert grown.last.size > small
    assert grown.to_plain().tolist() == some[:24_576].tolist()


def test_a_table_never_has_more_places_than_its_last_traces_need() -> None:
    table = RecentTraces.from_plain(np.arange(RECENT_TRACES, dtype=np.uint64))
    places = table.last.size
    for start in range(RECENT_TRACES, 3 * RECENT_TRACES, 8_192):
        table.fresh(np.arange(start, start + 8_192, dtype=np.uint64))
    assert table.last.size == places
