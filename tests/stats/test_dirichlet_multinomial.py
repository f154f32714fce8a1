from __future__ import annotations

from itertools import accumulate

import pytest

from stoploss.stats.errors import StatisticsInputError
from tests.stats.dirichlet_multinomial import log_bayes_factor

from .oracle_cases import case, near


@pytest.mark.parametrize("concentration", [100, 1000, 10000])
@pytest.mark.parametrize("name", ["srm_three_arms", "srm_gb_500_600"])
def test_the_bayes_factor_is_that_of_the_published_package_after_every_batch(name: str, concentration: int) -> None:
    inputs = case(name)["inputs"]
    running = accumulate(inputs["batches"], lambda seen, batch: [a + b for a, b in zip(seen, batch, strict=True)])
    found = [log_bayes_factor(seen, inputs["p0"], concentration=concentration) for seen in running]
    assert found == near(name, case(name)["expected"][f"conc{concentration}_log_bf"])


@pytest.mark.parametrize(
    ("counts", "shares", "message"),
    [
        ([1, 2], [0.5, 0.4], "shares sum to 0.9"),
        ([1, -2], [0.5, 0.5], r"counts\[1\] is -2"),
        ([1, 2, 3], [0.5, 0.5], "3 counts and 2 shares"),
        ([1, 2], [1.0, 0.0], r"shares\[0\] is 1.0"),
    ],
)
def test_arms_that_cannot_be_are_refused(counts: list[int], shares: list[float], message: str) -> None:
    with pytest.raises(StatisticsInputError, match=message):
        log_bayes_factor(counts, shares)
