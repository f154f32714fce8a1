"""What a screen says of a cell for certain is what the exact contrast says of it."""

from __future__ import annotations

import numpy as np
import pytest

from stoploss.stats.contrast import (
    ArmTotals,
    ClosedEpochs,
    Contrast,
    Contrasts,
    EpochTotals,
    Margin,
    close_epoch,
    contrasts,
)
from stoploss.stats.screen import screen

CELLS = 300
MARGINS = [Margin(), Margin(absolute=40_000.0), Margin(worse="lower", relative=0.05)]


def looked_at(margin: Margin, groups: int = 64) -> Contrasts:
    """Effects from clear benefit to clear harm, over two epochs, skewed."""
    rng = np.random.default_rng(8)

    def epoch() -> EpochTotals:
        n = rng.poisson(9, (2, CELLS, groups))
        shift = np.stack([np.zeros(CELLS), np.linspace(-150_000, 150_000, CELLS)])[:, :, np.newaxis]
        sum_x = n * (1_000_000 + shift) + rng.exponential(300_000, n.shape) * n
        return EpochTotals(*(ArmTotals(n[a], np.rint(sum_x[a]).astype(np.int64)) for a in (0, 1)))

    closed = close_epoch(ClosedEpochs.none(CELLS, groups), epoch(), margin)
    alphas = rng.uniform(1e-4, 0.1, CELLS).tolist()
    return contrasts(closed, epoch(), margin=margin, alphas=alphas, tstar=5_000)


def exact(found: Contrasts) -> list[Contrast]:
    cells = [one for one in found if isinstance(one, Contrast)]
    assert len(cells) == len(found)
    return cells


@pytest.mark.parametrize("groups", [6, 64])
@pytest.mark.parametrize("margin", MARGINS)
def test_a_silent_cell_shows_neither_harm_nor_safety_and_a_safe_one_is_safe(margin: Margin, groups: int) -> None:
    found = looked_at(margin, groups)
    screened, cells = screen(found), exact(found)
    assert not any(one.breaches or one.is_safe for one, silent in zip(cells, screened.silent, strict=True) if silent)
    assert all(one.is_safe for one, safe in zip(cells, screened.safe, strict=True) if safe)


@pytest.mark.parametrize("margin", MARGINS)
def test_only_what_lies_near_a_limit_or_breaches_is_left_to_be_worked_out(margin: Margin) -> None:
    found = looked_at(margin)
    screened, cells = screen(found), exact(found)
    quiet, safe = (sum(1 for one in cells if not (one.breaches or one.is_safe)), sum(one.is_safe for one in cells))
    assert np.count_nonzero(screened.silent) > 0.8 * quiet > 20
    assert np.count_nonzero(screened.safe) > 0.7 * safe > 20


@pytest.mark.parametrize("margin", MARGINS)
def test_groups_and_spread_are_those_of_the_contrast(margin: Margin) -> None:
    found = looked_at(margin)
    screened, cells = screen(found), exact(found)
    assert screened.n_eff.tolist() == pytest.approx([one.n_eff for one in cells], rel=1e-9)
    assert screened.spread.tolist() == pytest.approx([one.spread for one in cells], rel=1e-9)


def test_nothing_is_said_for_certain_of_a_cell_without_a_contrast() -> None:
    """Neither where nobody came, nor where nothing varies."""
    nobody, constant = np.zeros((1, 16), np.int64), np.full((1, 16), 5, np.int64)
    arm = ArmTotals(np.concatenate([nobody, constant]), np.concatenate([nobody, 7 * constant]))
    found = contrasts(
        ClosedEpochs.none(2, 16), EpochTotals(arm, arm), margin=Margin(), alphas=[0.05, 0.05], tstar=5_000
    )
    assert not any(isinstance(one, Contrast) for one in found)
    screened = screen(found)
    assert not (screened.there | screened.silent | screened.safe).any()
