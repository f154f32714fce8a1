from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoploss.stats.errors import StatisticsInputError
from stoploss.stats.histogram import BUCKETS, bucket_of, bucket_range, quantile

from .properties import STEADY

VALUES = st.integers(-(2**40) + 1, 2**40 - 1)


def counted(values: list[int]) -> np.ndarray:
    return np.bincount(bucket_of(np.array(values, dtype=np.int64)), minlength=BUCKETS)


def test_the_buckets_cover_all_values_without_gap_or_overlap() -> None:
    ranges = [bucket_range(bucket) for bucket in range(BUCKETS)]
    assert ranges[0][0] == -(2**40) + 1
    assert ranges[-1][1] == 2**40 - 1
    assert all(below[1] + 1 == above[0] for below, above in itertools.pairwise(ranges))


def test_both_ends_of_every_bucket_fall_into_it() -> None:
    for end in (0, 1):
        ends = np.array([bucket_range(bucket)[end] for bucket in range(BUCKETS)])
        assert bucket_of(ends).tolist() == list(range(BUCKETS))


@STEADY
@given(value=VALUES)
def test_a_value_and_its_negative_lie_in_mirrored_buckets(value: int) -> None:
    assert bucket_of(np.array([value, -value])).sum() == BUCKETS - 1


@STEADY
@given(values=st.lists(VALUES, min_size=1, max_size=200), q=st.floats(0.001, 1))
def test_a_quantile_is_within_an_eighth_of_the_order_statistic(values: list[int], q: float) -> None:
    exact = sorted(values)[math.ceil(q * len(values)) - 1]
    found = quantile(counted(values), q)
    assert found is not None
    assert abs(found - exact) <= abs(exact) / 8


def test_small_values_are_exact() -> None:
    assert [quantile(counted(list(range(-15, 16))), q) for q in (0, 1 / 31, 0.5, 1)] == [-15, -15, 0, 15]


@STEADY
@given(values=st.lists(VALUES, min_size=1, max_size=100))
def test_quantiles_never_cross(values: list[int]) -> None:
    found = [quantile(counted(values), q / 20) for q in range(21)]
    assert found == sorted(found, key=lambda value: value if value is not None else math.nan)


def test_the_quantiles_of_a_long_tail_are_close() -> None:
    values = np.rint(np.random.default_rng(1).lognormal(13, 1, 50_000)).astype(np.int64)
    for q in (0.5, 0.95, 0.99):
        assert quantile(counted(values.tolist()), q) == pytest.approx(float(np.quantile(values, q)), rel=0.01)


def test_nothing_counted_is_no_quantile() -> None:
    assert quantile(np.zeros(BUCKETS, np.int64), 0.5) is None


@pytest.mark.parametrize("value", [2**40, -(2**40), 2**62])
def test_a_value_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(StatisticsInputError, match=f"{value}; each must lie strictly between"):
        bucket_of(np.array([0, value]) if value > 0 else np.array([value, value]))


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_share_out_of_range_is_refused(q: float) -> None:
    with pytest.raises(StatisticsInputError, match=f"q is {q!r}"):
        quantile(counted([1]), q)


def test_counts_of_another_layout_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match=r"counts have shape \(64,\)"):
        quantile(np.zeros(64, np.int64), 0.5)
    with pytest.raises(StatisticsInputError, match="bucket is 607"):
        bucket_range(607)
