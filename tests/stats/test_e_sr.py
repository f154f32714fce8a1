from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from stoploss.stats.e_sr import (
    LOG_GROWTHS,
    START,
    design_effect,
    frozen_rr0,
    log_increment,
    log_m,
    log_threshold,
    step,
)
from stoploss.stats.errors import StatisticsInputError

from .oracle_cases import case, near


def test_the_detector_is_that_of_the_exact_computation() -> None:
    oracle = case("e_detectors_bernoulli")
    p0, alternatives = oracle["parameters"]["p0"], oracle["parameters"]["p1"]
    running, found = (-math.inf,) * len(alternatives), []
    for event in oracle["inputs"]["x"]:
        ratios = [p1 / p0 if event else (1 - p1) / (1 - p0) for p1 in alternatives]
        running = step(running, [math.log(ratio) for ratio in ratios])
        found.append(math.exp(log_m(running)))
    assert found == near("e_detectors_bernoulli", oracle["expected"]["e_sr"])
    first = next(index for index, m in enumerate(found) if m >= 100)
    assert first == oracle["expected"]["first_index_sr_ge_100"]


def outcomes(n_c: int, n_t: int, p_c: float, p_t: float) -> list[tuple[float, int, int]]:
    """Every outcome of a batch with its probability."""
    return [
        (float(binom.pmf(x_c, n_c, p_c) * binom.pmf(x_t, n_t, p_t)), x_c, x_t)
        for x_c in range(n_c + 1)
        for x_t in range(n_t + 1)
    ]


@pytest.mark.parametrize("effect", [1.0, 3.7])
@pytest.mark.parametrize("rr0", [1.0, 1.3, 4.0])
def test_an_increment_is_at_most_one_on_average_without_harm(rr0: float, effect: float) -> None:
    for n_c, n_t, p_c, part in itertools.product([1, 2, 7], [1, 2, 7], [0.001, 0.05, 0.3, 0.9], [0.3, 1.0]):
        batch = outcomes(n_c, n_t, p_c, min(1.0, rr0 * p_c) * part)
        steps = [(p, log_increment(n_c, x_c, n_t, x_t, rr0=rr0, design_effect=effect)) for p, x_c, x_t in batch]
        for g in range(len(LOG_GROWTHS)):
            assert math.fsum(p * math.exp(found[g]) for p, found in steps) <= 1 + 1e-12


def test_an_increment_exceeds_one_on_average_under_harm() -> None:
    batch = outcomes(7, 7, 0.05, 0.3)
    steps = [(p, log_increment(7, x_c, 7, x_t, rr0=1.0, design_effect=1.0)) for p, x_c, x_t in batch]
    assert math.fsum(p * math.exp(found[2]) for p, found in steps) > 1.1


@pytest.mark.parametrize("leave_out_empty", [False, True])
def test_the_detector_grows_by_at_most_one_a_batch_on_average_without_harm(leave_out_empty: bool) -> None:
    """Batches without an event may be left out; what is counted against the tolerance is then the others."""
    growth = 0.0
    for (p, *first), (q, *second) in itertools.product(outcomes(3, 2, 0.2, 0.2), repeat=2):
        running, updates = START, 0
        for x_c, x_t in (first, second):
            if leave_out_empty and x_c + x_t == 0:
                continue
            updates += 1
            running = step(running, log_increment(3, x_c, 2, x_t, rr0=1.0, design_effect=1.0))
        growth += p * q * (math.exp(log_m(running)) - updates)
    assert growth <= 1e-12


def test_the_increment_is_the_tempered_ratio_of_conditional_likelihoods() -> None:
    n_c, x_c, n_t, x_t, rr0 = 900, 18, 100, 7, 1.25
    for found, growth in zip(
        log_increment(n_c, x_c, n_t, x_t, rr0=rr0, design_effect=2.5), (1.2, 1.5, 2, 3, 6), strict=True
    ):
        null, other = (n_t * r / (n_t * r + n_c) for r in (rr0, rr0 * growth))
        ratio = x_t * math.log(other / null) + x_c * math.log((1 - other) / (1 - null))
        assert found == pytest.approx(ratio / 2.5, rel=1e-9)


def test_a_harm_is_found_as_fast_after_a_long_clean_past_as_at_the_start() -> None:
    clean = log_increment(1_000, 50, 1_000, 50, rr0=1.0, design_effect=1.0)
    harmed = log_increment(1_000, 50, 1_000, 80, rr0=1.0, design_effect=1.0)

    def batches_to_alarm(clean_batches: int) -> int:
        running: tuple[float, ...] = START
        for _ in range(clean_batches):
            running = step(running, clean)
        for batch in itertools.count(1):
            running = step(running, harmed)
            if log_m(running) >= log_threshold(updates=100_000, false_alarms=0.01):
                return batch
        raise AssertionError

    assert batches_to_alarm(0) <= 7
    assert batches_to_alarm(1_000) <= batches_to_alarm(0)


def test_the_order_of_alternatives_changes_no_bit() -> None:
    logs = (0.3, -math.inf, 17.25, -4.0, 16.9)
    assert {log_m(order) for order in itertools.permutations(logs)} == {log_m(logs)}


def test_overwhelming_evidence_does_not_overflow() -> None:
    assert log_m(step((5_000.0,), (100.0,))) == 5_100.0


def test_the_threshold_is_batches_over_false_alarms() -> None:
    assert log_threshold(updates=1_000, false_alarms=0.5, streams=20) == pytest.approx(math.log(40_000))


def test_independent_events_have_almost_no_design_effect() -> None:
    rng = np.random.default_rng(1)
    n = rng.integers(50, 400, 1_024)
    assert 1.0 <= (design_effect(rng.binomial(n, 0.05).tolist(), n.tolist()) or 0) < 1.15


def test_alike_traces_of_a_session_show_in_the_design_effect() -> None:
    """Sessions of ten with intra-unit correlation 0.3: 1 + 9 * 0.3."""
    rng = np.random.default_rng(2)
    copies = rng.random((50_000, 10)) < 0.3**0.5
    x = np.where(copies, rng.random((50_000, 1)), rng.random((50_000, 10))) < 0.05
    group = rng.integers(0, 256, 50_000)
    events, n = np.bincount(group, x.sum(1), 256), np.bincount(group, minlength=256) * 10
    assert design_effect(events.astype(int).tolist(), n.tolist()) == pytest.approx(3.7, rel=0.25)


def test_the_order_of_groups_changes_no_bit_of_the_design_effect() -> None:
    rng = np.random.default_rng(3)
    n = rng.integers(0, 90, 256)
    x, order = rng.binomial(n, 0.1), rng.permutation(256)
    assert design_effect(x.tolist(), n.tolist()) == design_effect(x[order].tolist(), n[order].tolist())


@pytest.mark.parametrize(("events", "n"), [([0, 3], [0, 9]), ([0, 0], [5, 5]), ([5, 5], [5, 5]), ([], [])])
def test_without_groups_or_variation_there_is_no_design_effect(events: list[int], n: list[int]) -> None:
    assert design_effect(events, n) is None


def test_a_treatment_worse_from_the_start_is_not_called_a_regression() -> None:
    """W1: what has been so since the start is the guardrail's to judge; the detector looks for a change."""
    rr0 = frozen_rr0(2_500, 50_000, 3_000, 50_000) or 0
    assert rr0 == pytest.approx(1.2 * math.exp(3 * math.sqrt(1 / 2_500 + 1 / 3_000)))
    assert frozen_rr0(2_500, 50_000, 1_000, 50_000) == 1.0
    assert frozen_rr0(2_500, 50_000, 1_000, 50_000, at_least=1.1) == 1.1


def test_alike_traces_widen_the_limit_of_the_first_ratio() -> None:
    narrow, wide = (frozen_rr0(400, 9_000, 40, 900, design_effect=d) or 0 for d in (1.0, 4.0))
    assert math.log(wide) == pytest.approx(2 * math.log(narrow))


def test_a_flawless_start_of_the_treatment_leaves_every_harm_visible() -> None:
    assert frozen_rr0(500, 50_000, 0, 50_000) == 1.0


def test_one_user_with_all_the_events_leaves_a_limit_that_is_still_a_number() -> None:
    assert math.isfinite(frozen_rr0(50_000, 60_000, 0, 40_000, design_effect=50_000.0) or math.inf)


def test_without_an_event_in_control_there_is_no_ratio_yet() -> None:
    assert frozen_rr0(0, 50_000, 7, 50_000) is None
    assert frozen_rr0(7, 50_000, 0, 0) is None


@pytest.mark.parametrize(
    ("counts", "effect", "message"),
    [
        ((0, 0, 5, 1), 1.0, "n_c is 0"),
        ((5, 6, 5, 0), 1.0, "x_c is 6; it must lie between 0 and n_c, which is 5"),
        ((5, 0, 5, 1), 0.9, r"design_effect is 0\.9"),
        ((5, 0, 5, 1), math.nan, "design_effect is nan"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(counts: tuple[int, int, int, int], effect: float, message: str) -> None:
    with pytest.raises(StatisticsInputError, match=message):
        log_increment(*counts, rr0=1.0, design_effect=effect)


def test_evidence_that_is_no_number_is_refused() -> None:
    with pytest.raises(StatisticsInputError, match="below infinity"):
        log_m((0.0, math.nan))
    with pytest.raises(StatisticsInputError, match="events_by_group is 4"):
        design_effect([4, 0], [3, 3])
    with pytest.raises(StatisticsInputError, match=r"false_alarms is 0\.0"):
        log_threshold(updates=10, false_alarms=0.0)
