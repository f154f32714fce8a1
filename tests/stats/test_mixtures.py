from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoploss.stats.errors import StatisticsInputError
from stoploss.stats.mixtures import geometric_grid, log_mean_exp

from .properties import STEADY


@STEADY
@given(logs=st.lists(st.floats(-700, 700), min_size=1, max_size=30), seed=st.integers(0, 99))
def test_the_order_of_members_changes_no_bit(logs: list[float], seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(logs).tolist()
    assert log_mean_exp(shuffled) == log_mean_exp(logs)
    assert log_mean_exp(logs) == pytest.approx(float(np.logaddexp.reduce(logs)) - math.log(len(logs)), abs=1e-9)


def test_overwhelming_evidence_does_not_overflow() -> None:
    assert log_mean_exp([5e6, -5e6]) == 5e6 - math.log(2)


@pytest.mark.parametrize("logs", [[], [math.nan], [0.0, math.inf]])
def test_a_mixture_without_usable_members_is_refused(logs: list[float]) -> None:
    with pytest.raises(StatisticsInputError, match="needs at least one member, all finite"):
        log_mean_exp(logs)


def test_the_grid_is_the_geometric_one_of_numpy() -> None:
    assert geometric_grid(0.02, 1.6, 16) == pytest.approx(np.geomspace(0.02, 1.6, 16).tolist(), rel=1e-14)
