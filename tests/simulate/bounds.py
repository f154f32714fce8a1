"""Exact limits for counts of a fixed seed."""

from __future__ import annotations

from scipy import stats

ONE_IN_A_MILLION = 1e-6


def assert_binomial(hits: int, n: int, share: float) -> None:
    """The count lies within the exact limits that one in a million would pass on either side."""
    low, high = stats.binom.interval(1 - 2 * ONE_IN_A_MILLION, n, share)
    assert low <= hits <= high, f"{hits} of {n} is no {share}: expected {low:.0f} to {high:.0f}"
