from __future__ import annotations

import math
from fractions import Fraction

import pytest

from stoploss.stats.bonferroni import late_weight, log_limit, stream_weight
from stoploss.stats.errors import StatisticsInputError


def test_late_weights_never_exceed_their_half() -> None:
    assert math.fsum(late_weight(j) for j in range(1, 100_001)) == pytest.approx(0.5, abs=1e-5)
    assert sum(Fraction(late_weight(j)) for j in range(1, 10_001)) < Fraction(1, 2)


@pytest.mark.parametrize("capacity", [1, 2, 64, 5_000])
def test_the_weights_of_a_full_house_and_its_overflow_stay_within_one(capacity: int) -> None:
    total = sum(Fraction(stream_weight(j, capacity)) for j in range(1, capacity + 2))
    assert Fraction(1, 2) < total <= 1


def test_no_stream_is_left_without_a_usable_budget() -> None:
    assert stream_weight(64, 64) > 0.5 / 64
    assert log_limit(0.01, stream_weight(64, 64)) < 10


@pytest.mark.parametrize(("j", "capacity"), [(0, 64), (66, 64), (1, 0)])
def test_a_stream_outside_the_house_is_refused(j: int, capacity: int) -> None:
    with pytest.raises(StatisticsInputError, match=r"(j|capacity) is"):
        stream_weight(j, capacity)


@pytest.mark.parametrize(("alpha", "weight"), [(0.0, 0.5), (1.0, 0.5), (math.nan, 0.5), (0.05, 0.0), (0.05, 1.1)])
def test_an_impossible_budget_is_refused(alpha: float, weight: float) -> None:
    with pytest.raises(StatisticsInputError, match=r"(alpha|weight) is"):
        log_limit(alpha, weight)
