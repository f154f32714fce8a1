"""The difference of a treatment's effects between the variants of a second experiment, at every look."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from stoploss.stats.interaction import ClosedPairs, close_epoch, interaction
from stoploss.stats.utility import estimate

GROUPS, ALPHA, TSTAR = 64, 0.025, 5_000


class Traffic:
    """Runs of one experiment beside another; each run is a pair of cells. Units come back and differ from each other.

    effect   of the treatment, in standard deviations; extra: so much more in the second variant
    beside   share of units in the second variant; drift: what a look adds to everybody
    """

    def __init__(
        self, seed: int, runs: int, *, share: float = 0.5, beside: float = 0.5, effect: float = 0.3, extra: float = 0.0
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.runs, self.share, self.beside, self.effect, self.extra = runs, share, beside, effect, extra
        users = 20_000
        self.own = self.rng.normal(0, 0.5, (runs, users))
        self.treated = self.rng.random((runs, users)) < share
        self.in_other = self.rng.random((runs, users)) < beside
        self.n = np.zeros((runs, 2, 2, GROUPS), np.int64)
        self.total = np.zeros_like(self.n)

    def come(self, rows: int, drift: float = 0.0) -> None:
        """So many traces of each run, into the open epoch; the second variant shifts both arms alike."""
        user = self.rng.integers(0, self.own.shape[1], (self.runs, rows))
        run = np.arange(self.runs)[:, np.newaxis]
        arm, cell = self.treated[run, user].astype(int), self.in_other[run, user].astype(int)
        mean = self.own[run, user] + self.effect * arm + 0.4 * cell + self.extra * arm * cell + drift
        x = np.rint(1_000 * (mean + self.rng.normal(0, 1, user.shape))).astype(np.int64)
        np.add.at(self.n, (run, arm, cell, user % GROUPS), 1)
        np.add.at(self.total, (run, arm, cell, user % GROUPS), x)

    def signals(self, closed: list[ClosedPairs]) -> np.ndarray:
        """Which runs tell an interaction now."""
        combined = [close_epoch(one, n, x) for one, n, x in zip(closed, self.n, self.total, strict=True)]
        return np.array([_tells(one) for one in combined])


def _tells(combined: ClosedPairs) -> bool:
    found = interaction(combined, 0)
    if found is None:
        return False
    judged = estimate(found.term, alpha=ALPHA, tstar=TSTAR)
    return max(judged.log_e_above, judged.log_e_below) >= -math.log(ALPHA)


def told(traffic: Traffic, looks: int, rows: int = 400, first: int = 2_000, epochs: int = 1) -> int:
    """Runs in which an interaction is ever told, over many looks; both experiments are ramped between the epochs."""
    closed, alarmed = [ClosedPairs.none(1, GROUPS)] * traffic.runs, np.zeros(traffic.runs, np.bool_)
    for epoch in range(epochs):
        traffic.come(first)
        for look in range(looks):
            traffic.come(rows, drift=0.02 * look)
            alarmed |= traffic.signals(closed)
        closed = [close_epoch(one, n, x) for one, n, x in zip(closed, traffic.n, traffic.total, strict=True)]
        traffic.n[:], traffic.total[:] = 0, 0
        traffic.treated |= traffic.rng.random(traffic.treated.shape) < 0.1
        traffic.effect += 0.2 * epoch
    return int(alarmed.sum())


def compatible(alarmed: int, runs: int) -> bool:
    """Exact binomial: were the promise kept, as many or more would come up in over 1 of 1,000 suites."""
    return bool(binom.sf(alarmed - 1, runs, 2 * ALPHA) > 1e-3)


@pytest.mark.parametrize(("share", "beside"), [(0.5, 0.5), (0.1, 0.2)])
def test_without_an_interaction_one_is_told_no_more_often_than_promised(share: float, beside: float) -> None:
    """X3: the treatment has an effect, and so has the other experiment."""
    assert compatible(told(Traffic(1, 100, share=share, beside=beside), 12), 100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "beside", "epochs", "runs"), [(0.5, 0.5, 1, 600), (0.1, 0.2, 1, 600), (0.2, 0.3, 4, 200)]
)
def test_the_promise_holds_over_many_runs_and_epochs(share: float, beside: float, epochs: int, runs: int) -> None:
    """X3: with units that come back, a world that drifts, ramps, and an effect that grows."""
    assert compatible(told(Traffic(2, runs, share=share, beside=beside), 20, rows=800, epochs=epochs), runs)


def test_an_interaction_of_a_third_of_a_standard_deviation_is_found() -> None:
    """X3"""
    assert told(Traffic(3, 20, extra=0.35), 12) == 20


def test_the_interval_holds_the_truth_and_what_is_common_to_both_variants_cancels() -> None:
    traffic = Traffic(4, 40, extra=0.5)
    traffic.come(8_000)
    held = 0
    for n, x in zip(traffic.n, traffic.total, strict=True):
        found = interaction(close_epoch(ClosedPairs.none(1, GROUPS), n, x), 0)
        assert found is not None
        judged = estimate(found.term, alpha=ALPHA, tstar=TSTAR)
        held += judged.lower <= 500 <= judged.upper
        assert abs(found.first - 300) < 150
        assert abs(found.other - 800) < 150
    assert held >= 37


def test_an_effect_that_changes_while_the_other_is_ramped_is_no_interaction() -> None:
    """Both effects have the same weights, whatever the split of the other experiment in an epoch."""
    closed = ClosedPairs.none(1, 4)
    for effect, beside in ((0, 10), (100, 1_000)):
        n = np.array([[[1_000] * 4, [beside] * 4], [[1_000] * 4, [beside] * 4]])
        mean = np.array([[[50], [70]], [[50 + effect], [70 + effect]]])
        wobble = np.array([1, -1, 1, -1]) * n
        closed = close_epoch(closed, n, mean * n + wobble)
    found = interaction(closed, 0)
    assert found is not None
    assert abs(found.term.difference) < 1
    assert abs(found.first - found.other) < 1


def test_no_pair_counts_in_an_epoch_in_which_an_arm_has_fewer_than_two_groups() -> None:
    n = np.full((2, 3, 4), 5)
    n[1, 1] = [20, 0, 0, 0]
    closed = close_epoch(ClosedPairs.none(2, 4), n, 10 * n)
    assert interaction(closed, 0) is None
    assert interaction(closed, 1) is not None


def test_a_variant_that_is_seen_later_has_room() -> None:
    rng = np.random.default_rng(5)
    first, later = (rng.integers(1, 9, (2, cells, 4)) for cells in (2, 3))
    closed = close_epoch(close_epoch(ClosedPairs.none(0, 4), first, 10 * first), later, 20 * later)
    alone = close_epoch(ClosedPairs.none(2, 4), later, 20 * later)
    assert closed.weight[0] > alone.weight[0]
    assert closed.weight[1] == alone.weight[1]
