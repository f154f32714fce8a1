"""Chance by key: repeatable, spread evenly, and unrelated between keys."""

from __future__ import annotations

import numpy as np

from stoploss.calibration.chance import keyed, uniform, words


def test_the_same_key_gives_the_same_words_in_any_order_of_asking() -> None:
    assert words(10, 3, 1).tolist() == words(20, 3, 1)[:10].tolist()
    assert keyed(np.array([7, 5], np.uint64), 1)[::-1].tolist() == keyed(np.array([5, 7], np.uint64), 1).tolist()


def test_numbers_lie_evenly_in_0_to_1() -> None:
    x = uniform(words(100_000, 1))
    assert x.min() >= 0
    assert x.max() < 1
    assert np.abs(np.bincount((x * 10).astype(int)) - 10_000).max() < 500


def test_keys_are_unrelated() -> None:
    for one, other in (((1,), (2,)), ((1, 2), (2, 1)), ((0, 1), (1, 0))):
        x, y = uniform(words(50_000, *one)), uniform(words(50_000, *other))
        assert abs(np.corrcoef(x, y)[0, 1]) < 0.02
