from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from stoploss.stats.errors import StatisticsInputError
from stoploss.stats.frozen_reference import FrozenReference, freeze


def test_the_threshold_is_one_of_the_values_whatever_their_order() -> None:
    values = np.random.default_rng(1).permutation(np.arange(1, 1_001) ** 2).tolist()
    assert freeze(values, 0.95) == freeze(values[::-1], 0.95) == FrozenReference(950**2, 950, 1_000)


@pytest.mark.parametrize(("quantile", "rank"), [(0.5, 500), (0.29, 290), (0.95, 950), (0.99, 990), (0.999, 999)])
def test_the_rank_is_that_of_the_decimal_number(quantile: float, rank: int) -> None:
    """0.29 * 1000 is 290.00000000000006 in binary."""
    assert freeze(range(1_000), quantile).rank == rank


def test_the_limit_is_the_beta_quantile_of_the_order_statistic() -> None:
    for rank, size in ((1_000, 2_000), (1_900, 2_000), (950, 1_000)):
        expected = beta.ppf(0.999, size + 1 - rank, rank)
        assert FrozenReference(0, rank, size).exceedance_limit() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ties", [1, 25])
def test_the_limit_holds_for_nearly_every_reference_whatever_the_ties(ties: int) -> None:
    rng, broken = np.random.default_rng(2), 0
    for _ in range(1_000):
        reference = freeze((rng.integers(0, 100_000, 500) // ties * ties).tolist(), 0.95)
        above = np.mean(np.arange(100_000) // ties * ties > reference.threshold)
        broken += above > reference.exceedance_limit(0.99)
    assert broken <= 22


def test_too_few_values_for_the_quantile_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match="size is 99; it must be a whole number of at least 100"):
        freeze(range(99), 0.99)
    with pytest.raises(StatisticsInputError, match=r"quantile is 1\.0"):
        freeze(range(99), 1.0)
