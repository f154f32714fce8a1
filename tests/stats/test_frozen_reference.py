from __future__ import annotations

import numpy as np
import pytest

from stoploss.stats.errors import StatisticsInputError
from stoploss.stats.frozen_reference import freeze


def test_the_threshold_is_one_of_the_values_whatever_their_order() -> None:
    values = np.random.default_rng(1).permutation(np.arange(1, 1_001) ** 2).tolist()
    assert freeze(values, 0.95) == freeze(values[::-1], 0.95) == 950**2


@pytest.mark.parametrize(("quantile", "rank"), [(0.5, 500), (0.29, 290), (0.95, 950), (0.99, 990), (0.999, 999)])
def test_the_rank_is_that_of_the_decimal_number(quantile: float, rank: int) -> None:
    """0.29 * 1000 is 290.00000000000006 in binary."""
    assert freeze(range(1, 1_001), quantile) == rank


def test_too_few_values_for_the_quantile_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match="size is 99; it must be a whole number of at least 100"):
        freeze(range(99), 0.99)
    with pytest.raises(StatisticsInputError, match=r"quantile is 1\.0"):
        freeze(range(99), 1.0)
