from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from stoploss.stats.contrast import ArmTotals, ClosedEpochs, Contrast, EpochTotals, Margin, close_epoch, contrasts
from stoploss.stats.errors import StatisticsInputError
from stoploss.stats.floors import first_unmet
from stoploss.stats.one_rate import rate_limits
from stoploss.stats.utility import (
    Objective,
    RiskUnits,
    Term,
    combine,
    delta_u,
    estimate,
    flip_lambda,
    flip_lambda_cost,
    flip_lambda_risk,
    judged_units_floors,
    rare_risk_limits,
    risk_is_rare,
    term,
)

GROUPS = 64
ALPHA, TSTAR = 0.05, 5000.0
OBJECTIVE = Objective(quality_0=1_000.0, cost_0=500.0, lambda_cost=0.5, lambda_risk=2.0, risk_0=1.0)
LOOK = {"alpha": ALPHA, "tstar": TSTAR}


class Traffic:
    """Seeded rows of two epochs at 50/50 and 20/80: quality falls with cost, as the same traces show."""

    def __init__(self, seed: int, *, quality: int = 0, cost: int = 0, harm: float = 0.0) -> None:
        rng = np.random.default_rng(seed)
        self.n = 6_000
        self.epoch = np.repeat([0, 1], self.n // 2)
        self.group = rng.integers(0, GROUPS, self.n)
        self.arm = (rng.random(self.n) < np.where(self.epoch == 0, 0.5, 0.2)).astype(np.int64)
        common = rng.normal(0, 100, self.n) + 30 * self.epoch
        self.quality = np.rint(1_000 + common + quality * self.arm + rng.normal(0, 60, self.n)).astype(np.int64)
        self.cost = np.rint(500 + common + cost * self.arm + rng.normal(0, 30, self.n)).astype(np.int64)
        self.risk = rng.binomial(1, 0.05 + harm * self.arm)

    def epochs(self, x: np.ndarray, keep: np.ndarray | None = None) -> list[EpochTotals]:
        made = []
        for epoch in (0, 1):
            rows = (self.epoch == epoch) & (True if keep is None else keep)
            arms = []
            for arm in (0, 1):
                mine = rows & (self.arm == arm)
                n = np.bincount(self.group[mine], minlength=GROUPS)
                total = np.bincount(self.group[mine], x[mine], GROUPS)
                arms.append(ArmTotals(n.astype(np.int64)[np.newaxis], total.astype(np.int64)[np.newaxis]))
            made.append(EpochTotals(*arms))
        return made

    def term(self, x: np.ndarray, keep: np.ndarray | None = None) -> Term:
        closed = ClosedEpochs.none(1, GROUPS)
        for epoch in self.epochs(x, keep):
            closed = close_epoch(closed, epoch, Margin())
        found = term(closed)
        assert found is not None
        return found

    def terms(self) -> tuple[Term, Term, Term]:
        return self.term(self.quality), self.term(self.cost), self.term(self.risk)


def test_the_sum_is_the_contrast_of_the_summed_traces() -> None:
    """D2: with every mean over the same rows, Delta U is the contrast of U = Q - C - 2000 R in thousandths."""
    traffic = Traffic(1, quality=20, cost=10)
    first, second = traffic.epochs(traffic.quality - traffic.cost - 2_000 * traffic.risk)
    closed = close_epoch(ClosedEpochs.none(1, GROUPS), first, Margin())
    [expected] = contrasts(closed, second, margin=Margin(), alphas=[ALPHA], tstar=TSTAR)
    assert isinstance(expected, Contrast)
    total = delta_u(*traffic.terms(), OBJECTIVE, **LOOK).total
    assert 1_000 * total.value == pytest.approx(expected.difference, rel=1e-9)
    assert (1_000 * total.lower, 1_000 * total.upper) == pytest.approx(expected.limits(), rel=1e-9)
    assert total.log_e_above == pytest.approx(expected.log_e_harm, rel=1e-9)
    assert total.log_e_below == pytest.approx(expected.log_e_safe, rel=1e-9)


def test_each_term_has_the_sign_with_which_it_enters_and_they_add_up() -> None:
    found = delta_u(*Traffic(2, quality=40, cost=60, harm=0.05).terms(), OBJECTIVE, **LOOK)
    assert found.risk is not None
    assert found.quality.lower > 0
    assert found.cost.upper < 0
    assert found.risk.upper < 0
    assert found.quality.value + found.cost.value + found.risk.value == pytest.approx(found.total.value, rel=1e-12)


def test_what_moves_together_cancels_in_the_error_of_the_sum() -> None:
    found = delta_u(*Traffic(3).terms(), replace(OBJECTIVE, lambda_risk=0.0), **LOOK)
    assert found.total.se < 0.75 * math.hypot(found.quality.se, found.cost.se)


def test_a_quality_scored_for_some_traces_stands_beside_a_cost_that_all_have() -> None:
    traffic = Traffic(4, quality=40)
    judged = np.random.default_rng(5).random(traffic.n) < 0.2
    quality, cost = traffic.term(traffic.quality, judged), traffic.term(traffic.cost)
    found = delta_u(quality, cost, None, OBJECTIVE, **LOOK)
    assert found.risk is None
    assert combine((1.0, quality), (1.0, cost)).clock == quality.clock < cost.clock
    assert found.total.value == pytest.approx(0.04, abs=3 * found.total.se)


def test_a_term_without_a_price_is_zero_and_known_to_be() -> None:
    found = delta_u(*Traffic(6).terms(), replace(OBJECTIVE, lambda_cost=0.0), **LOOK)
    assert (found.cost.lower, found.cost.value, found.cost.upper) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_the_limits_pass_zero_in_the_moment_the_evidence_speaks(alpha: float) -> None:
    influence = np.random.default_rng(7).gamma(0.5, 1.0, GROUPS) - 0.5
    for value in np.linspace(-60, 60, 241).tolist():
        found = estimate(Term(value, influence, 4_000.0, 60.0), alpha=alpha, tstar=TSTAR)
        assert (found.lower > 0) == (found.log_e_above > -math.log(alpha))
        assert (found.upper < 0) == (found.log_e_below > -math.log(alpha))


def test_the_order_of_groups_changes_no_bit() -> None:
    parts = Traffic(8, quality=20).terms()
    order = np.random.default_rng(9).permutation(GROUPS)
    turned = [replace(part, influence=part.influence[order]) for part in parts]
    assert delta_u(*turned, OBJECTIVE, **LOOK) == delta_u(*parts, OBJECTIVE, **LOOK)


def test_without_a_comparable_epoch_there_is_no_term() -> None:
    assert term(ClosedEpochs.none(2, GROUPS), 1) is None


def test_without_variation_there_is_no_evidence() -> None:
    found = estimate(Term(5.0, np.zeros(GROUPS), 900.0, 60.0), **LOOK)
    assert (found.lower, found.upper, found.log_e_above) == (-math.inf, math.inf, 0.0)


def test_a_price_next_to_nothing_is_judged_as_any_other() -> None:
    influence = np.random.default_rng(21).gamma(0.5, 1.0, GROUPS) - 0.5
    found = estimate(Term(60.0, influence, 4_000.0, 60.0), **LOOK)
    tiny = estimate(Term(60e-120, influence * 1e-120, 4_000.0, 60.0), **LOOK)
    assert tiny.log_e_above == pytest.approx(found.log_e_above, rel=1e-9)


def symmetric(difference: float, size: float, seed: int) -> Term:
    """Influences without skew, for which the flip is exact."""
    half = np.random.default_rng(seed).normal(0, size, GROUPS // 2)
    return Term(difference, np.concatenate([half, -half]), 4_000.0, 60.0)


def bisected(fixed: Term, priced: Term, low: float, high: float, side: str) -> float:
    """The price at which a limit of the sum passes 0, by bisection on the verdict itself."""

    def beyond(price: float) -> bool:
        return getattr(estimate(combine((1.0, fixed), (price, priced)), **LOOK), side) < 0

    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return high


def test_the_flip_is_where_the_verdict_changes() -> None:
    """D2: the lambda at which the verdict flips, against bisection on the verdict."""
    fixed, priced = symmetric(10.0, 0.2, 10), symmetric(-5.0, 0.1, 11)
    found = flip_lambda(fixed, priced, **LOOK)
    assert found is not None
    assert found.estimate == 2.0
    assert found.lower == pytest.approx(bisected(fixed, priced, 0, 2, "lower"), rel=1e-9)
    assert found.upper == pytest.approx(bisected(fixed, priced, 2, 9, "upper"), rel=1e-9)


def test_the_flip_of_a_price_does_not_depend_on_that_price() -> None:
    quality, cost, risk = Traffic(12, quality=90, cost=30, harm=0.03).terms()
    for price in (0.0, 3.0):
        by_cost = flip_lambda_cost(quality, cost, risk, replace(OBJECTIVE, lambda_cost=price), **LOOK)
        assert by_cost == flip_lambda_cost(quality, cost, risk, OBJECTIVE, **LOOK)
        by_risk = flip_lambda_risk(quality, cost, risk, replace(OBJECTIVE, lambda_risk=price), **LOOK)
        assert by_risk == flip_lambda_risk(quality, cost, risk, OBJECTIVE, **LOOK) is not None


def test_a_cost_that_may_not_differ_flips_nothing() -> None:
    assert flip_lambda(symmetric(10.0, 0.2, 13), symmetric(-0.1, 0.3, 14), **LOOK) is None


def test_what_is_better_and_cheaper_is_so_at_every_price() -> None:
    assert flip_lambda(symmetric(10.0, 0.2, 15), symmetric(5.0, 0.1, 16), **LOOK) is None


def test_what_is_undecided_without_a_price_flips_from_zero_on() -> None:
    found = flip_lambda(symmetric(0.1, 0.2, 17), symmetric(-5.0, 0.1, 18), **LOOK)
    assert found is not None
    assert found.lower == 0.0 < found.estimate < found.upper


def test_one_group_that_carries_everything_flips_nothing() -> None:
    heavy = [replace(symmetric(size, 0.1, 19), n_eff=1.0) for size in (10.0, -5.0)]
    assert flip_lambda(*heavy, **LOOK) is None


def test_rare_risk_is_taken_at_the_worst_that_the_data_allow() -> None:
    """D3: no harm event in 2,000 units of the treatment still leaves a rate of up to 0.4 %, times 3 a trace."""
    quality, cost, _ = Traffic(20, quality=40).terms()
    control, treatment = RiskUnits(3_000, 2), RiskUnits(2_000, 0)
    lower, upper = rare_risk_limits(quality, cost, OBJECTIVE, control=control, treatment=treatment, worst=3.0, **LOOK)
    rest = delta_u(quality, cost, None, OBJECTIVE, alpha=ALPHA / 2, tstar=TSTAR).total
    assert lower == pytest.approx(rest.lower - 2 * 3 * rate_limits(0, 2_000, ALPHA / 2)[1], rel=1e-12)
    assert upper == pytest.approx(rest.upper + 2 * 3 * rate_limits(2, 3_000, ALPHA / 2)[1], rel=1e-12)


def test_risk_is_common_when_both_arms_have_forty_units_with_an_event() -> None:
    assert not risk_is_rare(40, 40)
    assert risk_is_rare(39, 400)
    assert risk_is_rare(400, 39)


@pytest.mark.parametrize(
    ("control", "treatment", "unmet"), [(100, 100, False), (99, 100, True), (280, 120, False), (281, 120, True)]
)
def test_uneven_arms_need_more_judged_units(control: int, treatment: int, unmet: bool) -> None:
    assert (first_unmet(judged_units_floors(control, treatment)) is not None) == unmet


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality_0": 0.0}, r"quality_0 is 0\.0"),
        ({"cost_0": math.inf}, "cost_0 is inf"),
        ({"lambda_cost": -0.1}, r"lambda_cost is -0\.1; it must be a finite number from 0 up"),
        ({"lambda_risk": math.nan}, "lambda_risk is nan"),
    ],
)
def test_an_objective_without_meaning_is_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(StatisticsInputError, match=message):
        replace(OBJECTIVE, **change)


def test_more_units_with_an_event_than_units_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match="with_event is 3; it must lie between 0 and units, which is 2"):
        RiskUnits(2, 3)
