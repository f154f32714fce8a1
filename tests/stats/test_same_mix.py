from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from stoploss.stats import same_mix
from stoploss.stats.errors import StatisticsInputError


@pytest.mark.parametrize("p", [(0.5, 0.5), (0.9, 0.1), (0.01, 0.99), (0.3, 0.3, 0.4), (0.05, 0.05, 0.9)])
@pytest.mark.parametrize(("reference", "later"), [(1, 1), (3, 2), (2, 5)])
def test_the_expected_evidence_of_two_alike_samples_is_at_most_one(
    p: tuple[float, ...], reference: int, later: int
) -> None:
    """By enumeration of every sequence, for common and for rare categories."""
    expected = 0.0
    for drawn in product(range(len(p)), repeat=reference + later):
        chance = math.prod(p[category] for category in drawn)
        counts = [[part.count(k) for k in range(len(p))] for part in (drawn[:reference], drawn[reference:])]
        expected += chance * math.exp(same_mix.log_e(*counts))
    assert expected <= 1 + 1e-12


def test_the_order_in_which_values_came_does_not_matter() -> None:
    """Only counts go in, so batches merge in any order; the categories may be listed in any order too."""
    counts = [40, 0, 7, 300], [10, 5, 90, 200]
    turned = [part[::-1] for part in counts]
    assert same_mix.log_e(*turned) == pytest.approx(same_mix.log_e(*counts), abs=1e-9)


def test_a_shift_of_fifteen_in_a_hundred_is_evidence_and_sameness_is_none() -> None:
    assert same_mix.log_e([250, 150, 100], [700, 600, 700]) > math.log(1e3)
    assert same_mix.log_e([250, 150, 100], [1_000, 600, 400]) < 0


@pytest.mark.parametrize("bad", [([1], [1]), ([1, 2], [1, 2, 3]), ([1, -1], [0, 0])])
def test_samples_that_cannot_be_compared_are_refused(bad: tuple[list[int], list[int]]) -> None:
    with pytest.raises(StatisticsInputError):
        same_mix.log_e(*bad)


@pytest.mark.slow
def test_looked_at_after_every_twenty_values_two_alike_samples_alarm_in_no_more_than_one_run_of_a_hundred() -> None:
    rng, alarms = np.random.default_rng(7), 0
    p = np.array([0.6, 0.25, 0.1, 0.04, 0.01])
    for _ in range(2_000):
        reference = rng.multinomial(500, p).tolist()
        looks = rng.multinomial(20, p, 100).cumsum(axis=0).tolist()
        alarms += any(same_mix.log_e(reference, later) >= math.log(100) for later in looks)
    assert alarms < 30
