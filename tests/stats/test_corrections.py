from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoploss.stats.corrections import correct_few_groups, correct_skew, undo_few_groups, undo_skew
from stoploss.stats.errors import StatisticsInputError

from .properties import STEADY

SKEWS = st.floats(-1.5, 1.5)
VALUES = st.floats(-12, 12)


@STEADY
@given(z=VALUES, kappa=SKEWS)
def test_undoing_the_skew_correction_gives_back_z(z: float, kappa: float) -> None:
    assert undo_skew(correct_skew(z, kappa), kappa) == pytest.approx(z, rel=1e-6, abs=1e-4)


@STEADY
@given(z=VALUES, n_eff=st.floats(3, 300))
def test_undoing_the_few_groups_correction_gives_back_z(z: float, n_eff: float) -> None:
    assert undo_few_groups(correct_few_groups(z, n_eff), n_eff) == pytest.approx(z, rel=1e-9, abs=1e-12)


@STEADY
@given(z=VALUES, step=st.floats(1e-3, 5), kappa=SKEWS, n_eff=st.floats(2, 300))
def test_both_corrections_keep_the_order_of_z(z: float, step: float, kappa: float, n_eff: float) -> None:
    def corrected(value: float) -> float:
        return correct_few_groups(correct_skew(value, kappa), n_eff)

    assert corrected(z + step) >= corrected(z)


def test_without_skew_and_with_many_groups_nothing_changes() -> None:
    assert correct_skew(2.5, 0.0) == undo_skew(2.5, 0.0) == 2.5
    assert correct_few_groups(2.5, 1e9) == pytest.approx(2.5, rel=1e-8)


def test_mirrored_data_mirrors_the_corrections() -> None:
    assert correct_skew(-2.0, -0.3) == -correct_skew(2.0, 0.3)
    assert correct_few_groups(-2.0, 40) == -correct_few_groups(2.0, 40)


def test_a_single_effective_group_carries_no_evidence() -> None:
    assert correct_few_groups(8.0, 1.0) == 0.0
    assert undo_few_groups(-0.1, 1.0) == -math.inf
    assert undo_few_groups(0.0, 1.0) == 0.0


def test_a_limit_beyond_all_numbers_is_infinite_not_an_overflow() -> None:
    assert undo_few_groups(60.0, 3.0) == math.inf
    assert undo_skew(math.inf, -0.2) == math.inf


@pytest.mark.parametrize("n_eff", [0.0, -3.0, math.nan, math.inf])
def test_an_impossible_number_of_groups_is_refused(n_eff: float) -> None:
    with pytest.raises(StatisticsInputError, match=f"n_eff is {n_eff!r}"):
        correct_few_groups(1.0, n_eff)


@pytest.mark.parametrize(("z", "kappa", "name"), [(math.nan, 0.1, "z"), (1.0, math.inf, "kappa")])
def test_an_unusable_z_or_skew_is_refused_by_name(z: float, kappa: float, name: str) -> None:
    with pytest.raises(StatisticsInputError, match=f"^{name} is"):
        correct_skew(z, kappa)
