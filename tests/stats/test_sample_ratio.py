from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from stoploss.stats.errors import StatisticsInputError
from stoploss.stats.sample_ratio import LOG_ODDS_SHIFTS, EpochCounts, log_e


def test_the_mixture_is_the_mean_of_likelihood_ratios() -> None:
    epochs = [EpochCounts(950, 40, 0.05), EpochCounts(520, 480, 0.5)]
    ratios = []
    for shift in LOG_ODDS_SHIFTS:
        shifted = [e.share * math.exp(shift) / (e.share * math.exp(shift) + 1 - e.share) for e in epochs]
        ratios.append(
            math.prod(
                (p / e.share) ** e.treatment * ((1 - p) / (1 - e.share)) ** e.control
                for p, e in zip(shifted, epochs, strict=True)
            )
        )
    assert math.exp(log_e(epochs)) == pytest.approx(sum(ratios) / 24, rel=1e-9)


def test_the_evidence_is_one_on_average_over_two_epochs_of_a_kept_split() -> None:
    average = math.fsum(
        float(binom.pmf(a, 6, 0.1) * binom.pmf(b, 9, 0.5))
        * math.exp(log_e([EpochCounts(6 - a, a, 0.1), EpochCounts(9 - b, b, 0.5)]))
        for a in range(7)
        for b in range(10)
    )
    assert average == pytest.approx(1.0, abs=1e-12)


def test_the_order_of_epochs_changes_no_bit() -> None:
    epochs = [EpochCounts(9_000 + i, 1_000 - 7 * i, 0.1 + i / 100) for i in range(12)]
    assert log_e(epochs[::-1]) == log_e(epochs)


def test_one_split_in_many_epochs_is_one_epoch() -> None:
    assert log_e([EpochCounts(90, 12, 0.1)] * 40) == pytest.approx(log_e([EpochCounts(3_600, 480, 0.1)]), rel=1e-12)


def test_no_unit_is_no_evidence() -> None:
    assert log_e([]) == log_e([EpochCounts(0, 0, 0.5)]) == 0.0


def test_a_short_treatment_is_found_over_a_ramp_of_forty_epochs() -> None:
    rng = np.random.default_rng(3)
    epochs = []
    for share in np.linspace(0.02, 0.5, 40).tolist():
        treatment = int(rng.binomial(1_000, share * 0.9))
        epochs.append(EpochCounts(1_000 - treatment, treatment, share))
    assert log_e(epochs) > -math.log(0.001)


@pytest.mark.parametrize("share", [0.0, 1.0, math.nan])
def test_a_share_that_leaves_an_arm_empty_is_refused(share: float) -> None:
    with pytest.raises(StatisticsInputError, match=f"share is {share!r}"):
        EpochCounts(1, 1, share)


def test_negative_units_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match="treatment is -1"):
        EpochCounts(1, -1, 0.5)
