from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoploss.stats.contrast import (
    ArmTotals,
    ClosedEpochs,
    Contrast,
    EpochTotals,
    IntArray,
    Margin,
    NoContrast,
    close_epoch,
    contrasts,
)
from stoploss.stats.errors import StatisticsInputError

from .oracle_cases import CONTRASTS
from .properties import STEADY

NAMES = list(CONTRASTS)


def arm(pairs: list[list[int]]) -> ArmTotals:
    n, sum_x = np.array(pairs, dtype=np.int64).T
    return ArmTotals(n[np.newaxis].copy(), sum_x[np.newaxis].copy())


def oracle_epochs(name: str) -> list[EpochTotals]:
    return [EpochTotals(arm(e["control"]), arm(e["treatment"])) for e in CONTRASTS[name]["input"]["epochs"]]


def oracle_margin(name: str) -> Margin:
    given = CONTRASTS[name]["input"]
    return Margin(absolute=given["margin"], relative=given["relative"])


def all_but_the_last(epochs: list[EpochTotals], margin: Margin) -> ClosedEpochs:
    closed = ClosedEpochs.none(*epochs[-1].control.n.shape)
    for epoch in epochs[:-1]:
        closed = close_epoch(closed, epoch, margin)
    return closed


def judged(
    closed: ClosedEpochs, epoch: EpochTotals, margin: Margin, alpha: float = 0.05
) -> list[Contrast | NoContrast]:
    return list(contrasts(closed, epoch, margin=margin, alphas=[alpha] * epoch.control.n.shape[0], tstar=5000))


def number(found: list[Contrast | NoContrast], cell: int = 0) -> Contrast:
    contrast = found[cell]
    assert isinstance(contrast, Contrast)
    return contrast


def of_oracle(name: str, margin: Margin | None = None) -> Contrast:
    epochs, margin = oracle_epochs(name), margin or oracle_margin(name)
    given = CONTRASTS[name]["input"]
    [found] = contrasts(
        all_but_the_last(epochs, margin), epochs[-1], margin=margin, alphas=[given["alpha"]], tstar=given["tstar"]
    )
    assert isinstance(found, Contrast)
    return found


def random_epoch(seed: int, cells: int = 1, groups: int = 16) -> EpochTotals:
    rng = np.random.default_rng(seed)

    def one() -> ArmTotals:
        n = rng.poisson(9, (cells, groups))
        return ArmTotals(n.astype(np.int64), (n * 1_000_000 + rng.integers(-(10**6), 10**6, (cells, groups))) * (n > 0))

    return EpochTotals(one(), one())


def empty_epoch(cells: int, groups: int) -> EpochTotals:
    zero = ArmTotals(np.zeros((cells, groups), np.int64), np.zeros((cells, groups), np.int64))
    return EpochTotals(zero, zero)


@pytest.mark.parametrize("name", NAMES)
def test_every_intermediate_is_that_of_the_independent_program(name: str) -> None:
    expected: dict[str, Any] = dict(CONTRASTS[name]["expected"])
    expected.pop("epochs")
    rho_squared = expected.pop("rho_squared")
    found = of_oracle(name)
    assert {key: getattr(found, key) for key in expected} == pytest.approx(expected, rel=1e-9)
    assert found.k / found.clock == pytest.approx(rho_squared, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_every_epoch_alone_has_the_weight_and_difference_of_the_independent_program(name: str) -> None:
    for epoch, expected in zip(oracle_epochs(name), CONTRASTS[name]["expected"]["epochs"], strict=True):
        alone = close_epoch(ClosedEpochs.none(*epoch.control.n.shape), epoch, oracle_margin(name))
        assert alone.weight[0] == pytest.approx(expected["h"], rel=1e-9)
        if expected["h"]:
            assert alone.weighted_difference[0] / alone.weight[0] == pytest.approx(expected["difference"], rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_closing_the_last_epoch_changes_no_bit(name: str) -> None:
    epochs, margin = oracle_epochs(name), oracle_margin(name)
    empty = empty_epoch(*epochs[0].control.n.shape)
    before = judged(all_but_the_last(epochs, margin), epochs[-1], margin)
    after = judged(all_but_the_last([*epochs, empty], margin), empty, margin)
    assert before == after


def test_cells_do_not_see_each_other() -> None:
    margin, epoch = Margin(relative=0.1), random_epoch(1, cells=5)
    together = judged(ClosedEpochs.none(5, 16), epoch, margin)
    alone = [
        judged(
            ClosedEpochs.none(1, 16),
            EpochTotals(*(ArmTotals(a.n[c : c + 1], a.sum_x[c : c + 1]) for a in (epoch.control, epoch.treatment))),
            margin,
        )[0]
        for c in range(5)
    ]
    assert together == alone


@STEADY
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_the_order_and_the_size_of_blocks_change_no_bit(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    key, x = rng.integers(0, 2 * 16, 400), rng.integers(-(2**39), 2**39, 400)

    def folded(rows: IntArray, boundaries: list[int]) -> list[Contrast | NoContrast]:
        n, sum_x = np.zeros(32, np.int64), np.zeros(32, np.int64)
        for block in np.split(rows, boundaries):
            n += np.bincount(key[block], minlength=32)
            sum_x += np.bincount(key[block], x[block], minlength=32).astype(np.int64)
        arms = [ArmTotals(n[a : a + 16][np.newaxis], sum_x[a : a + 16][np.newaxis]) for a in (0, 16)]
        return judged(ClosedEpochs.none(1, 16), EpochTotals(*arms), Margin())

    assert folded(np.arange(400), []) == folded(rng.permutation(400), sorted(cuts))


def test_the_absolute_margin_moves_z_and_not_the_difference() -> None:
    name = NAMES[0]
    plain, shifted = of_oracle(name), of_oracle(name, Margin(absolute=50_000.0))
    assert shifted.difference == plain.difference
    assert shifted.z == pytest.approx((plain.difference - 50_000) / plain.se)


@pytest.mark.parametrize("name", NAMES)
def test_the_limits_pass_the_margin_in_the_moment_the_evidence_passes_its_own(name: str) -> None:
    relative = oracle_margin(name).relative
    lower, upper = of_oracle(name).limits()
    assert lower < of_oracle(name).difference < upper
    at_lower = of_oracle(name, Margin(absolute=lower, relative=relative))
    at_upper = of_oracle(name, Margin(absolute=upper, relative=relative))
    assert at_lower.log_e_harm == pytest.approx(at_lower.limit, rel=1e-9)
    assert at_upper.log_e_safe == pytest.approx(at_upper.limit, rel=1e-9)


def test_where_lower_is_worse_the_question_is_mirrored() -> None:
    epoch = random_epoch(2)
    mirrored = EpochTotals(*(ArmTotals(a.n, -a.sum_x) for a in (epoch.control, epoch.treatment)))
    higher = number(judged(ClosedEpochs.none(1, 16), epoch, Margin("higher", absolute=1e4, relative=-0.2)))
    lower = number(judged(ClosedEpochs.none(1, 16), mirrored, Margin("lower", absolute=1e4, relative=0.2)))
    for field in ("difference", "se", "kappa", "z_corrected", "log_e_harm", "log_e_safe"):
        assert getattr(lower, field) == pytest.approx(getattr(higher, field), rel=1e-9)


def test_harm_is_positive_whichever_way_it_lies() -> None:
    epoch = EpochTotals(arm([[9, 90], [9, 95], [9, 88]]), arm([[9, 50], [9, 54], [9, 49]]))
    assert number(judged(ClosedEpochs.none(1, 3), epoch, Margin("lower"))).difference > 0
    assert number(judged(ClosedEpochs.none(1, 3), epoch, Margin("higher"))).difference < 0


def test_a_shift_common_to_both_arms_leaves_the_contrast_as_it_was() -> None:
    margin, epochs = Margin(), [random_epoch(seed) for seed in (3, 4)]
    drifted = [
        EpochTotals(*(ArmTotals(a.n, a.sum_x + shift * a.n) for a in (e.control, e.treatment)))
        for e, shift in zip(epochs, (0, 5_000_000), strict=True)
    ]
    still, moved = (number(judged(all_but_the_last(e, margin), e[-1], margin)) for e in (epochs, drifted))
    assert moved.z_corrected == pytest.approx(still.z_corrected, rel=1e-9)


@pytest.mark.parametrize(
    "treatment", [[[0, 0], [0, 0], [0, 0]], [[7, 700], [0, 0], [0, 0]]], ids=["empty", "one group"]
)
def test_an_arm_without_two_occupied_groups_gives_no_number(treatment: list[list[int]]) -> None:
    epoch = EpochTotals(arm([[5, 50], [5, 52], [5, 51]]), arm(treatment))
    assert judged(ClosedEpochs.none(1, 3), epoch, Margin()) == [NoContrast.NO_COMPARABLE_EPOCH]


@pytest.mark.parametrize("constant", [0, 7, 3 - 2**39])
def test_a_metric_that_never_varies_gives_no_number(constant: int) -> None:
    pairs = [[n, n * constant] for n in (100_003, 99_991, 7)]
    epoch = EpochTotals(arm(pairs), arm(pairs[::-1]))
    assert judged(ClosedEpochs.none(1, 3), epoch, Margin(absolute=1.0)) == [NoContrast.NO_VARIATION]


def test_a_dead_cell_does_not_disturb_a_live_one() -> None:
    live, dead = random_epoch(5), empty_epoch(1, 16)
    both = EpochTotals(
        *(
            ArmTotals(np.vstack([d.n, a.n]), np.vstack([d.sum_x, a.sum_x]))
            for d, a in ((dead.control, live.control), (dead.treatment, live.treatment))
        )
    )
    found = judged(ClosedEpochs.none(2, 16), both, Margin())
    assert found == [NoContrast.NO_COMPARABLE_EPOCH, *judged(ClosedEpochs.none(1, 16), live, Margin())]


def test_each_cell_is_judged_with_its_own_budget() -> None:
    found = contrasts(
        ClosedEpochs.none(2, 16), random_epoch(6, cells=2), margin=Margin(), alphas=[0.05, 0.0004], tstar=5000
    )
    assert [number(found, cell).limit for cell in (0, 1)] == [-math.log(0.05), -math.log(0.0004)]


def test_folding_an_epoch_leaves_the_given_state_untouched() -> None:
    closed = ClosedEpochs.none(1, 16)
    close_epoch(closed, random_epoch(7), Margin())
    assert not closed.weight.any()
    assert not closed.influence.any()


def test_mismatched_shapes_are_refused_with_both_named() -> None:
    with pytest.raises(StatisticsInputError, match=r"epoch has shape \(1, 16\), the closed epochs \(2, 16\)"):
        close_epoch(ClosedEpochs.none(2, 16), random_epoch(1), Margin())
    with pytest.raises(StatisticsInputError, match="both arms need the same cells and groups"):
        EpochTotals(random_epoch(1).control, random_epoch(1, groups=8).treatment)
    with pytest.raises(StatisticsInputError, match="2 alphas were given for 1 cells"):
        contrasts(ClosedEpochs.none(1, 16), random_epoch(1), margin=Margin(), alphas=[0.1, 0.1], tstar=5000)


def test_totals_that_are_not_exact_integers_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match="int64 and float64; both must be int64"):
        ArmTotals(np.zeros((1, 4), np.int64), np.zeros((1, 4)))  # type: ignore[arg-type]
    with pytest.raises(StatisticsInputError, match=r"both must be \(cells, groups\)"):
        ArmTotals(np.zeros(4, np.int64), np.zeros(4, np.int64))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_margin_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(StatisticsInputError, match=f"absolute margin is {value!r}"):
        Margin(absolute=value)
    with pytest.raises(StatisticsInputError, match=f"relative margin is {value!r}"):
        Margin(relative=value)


def test_a_relative_margin_that_tolerates_everything_is_refused() -> None:
    with pytest.raises(StatisticsInputError, match=r"relative margin is 1\.0"):
        Margin("lower", relative=1.0)


@pytest.mark.parametrize(("alpha", "tstar"), [(0.5, 5000.0), (math.nan, 5000.0), (0.05, 0.0), (0.05, math.nan)])
def test_a_budget_or_clock_out_of_range_is_refused(alpha: float, tstar: float) -> None:
    with pytest.raises(StatisticsInputError, match=r"(alpha|tstar) is"):
        contrasts(ClosedEpochs.none(1, 16), random_epoch(1), margin=Margin(), alphas=[alpha], tstar=tstar)


def test_the_spread_counts_the_groups_that_carry_the_error() -> None:
    """All alike but for a sign: all of them. One giant: about one. Normal: about a third."""
    rng = np.random.default_rng(5)

    def spread(of_treatment: IntArray) -> float:
        n = np.full((1, 256), 100, np.int64)
        control = np.tile([1_000, 1_010], 128).reshape(1, 256)
        epoch = EpochTotals(ArmTotals(n, control), ArmTotals(n, of_treatment.reshape(1, 256)))
        return number(contrasts(ClosedEpochs.none(1, 256), epoch, margin=Margin(), alphas=[0.05], tstar=5_000)).spread

    alike, giant = np.tile([1_010, 1_000], 128), np.full(256, 1_000)
    giant[7] = 10**7
    assert spread(alike) == pytest.approx(256)
    assert spread(giant) == pytest.approx(1, abs=0.01)
    assert spread(rng.normal(10**6, 10**5, 256).astype(np.int64)) == pytest.approx(256 / 3, rel=0.25)
