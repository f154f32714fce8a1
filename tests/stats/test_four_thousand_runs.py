"""Four thousand experiments without any effect for each method: false alarms, ever, within what was promised.

The contrast of means has its own (test_contrast_error_rates.py), and what goes wrong otherwise is in
test_known_failures.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from stoploss.stats import e_sr, one_rate, relative_risk, sample_ratio
from stoploss.stats.contrast import ClosedEpochs, Contrast, Margin, close_epoch, contrasts
from stoploss.stats.floors import (
    breach_event_floor,
    continuous_floors,
    first_unmet,
    groups_floor,
    safe_event_floor,
)
from stoploss.stats.sample_ratio import EpochCounts
from stoploss.stats.utility import Objective, combine, estimate, term

from .traffic import GROUPS, MICRO, epoch_of, totals

pytestmark = pytest.mark.slow

RUNS = 4_000
ALPHA = 0.05
LIMIT = -math.log(ALPHA)
MOST_ALARMS = RUNS * ALPHA + 2 * math.sqrt(RUNS * ALPHA * (1 - ALPHA))


def batches(seed: int, *, risk: float) -> Iterator[list[tuple[int, int, int, int]]]:
    """Each run: 80 batches of 100 control units and, after half of them, 100 instead of 10 of treatment; base rate
    swings between 1 and 9 %, and the treatment's is risk times as high."""
    rng = np.random.default_rng(seed)
    n_t = np.where(np.arange(80) < 40, 10, 100)
    rate = 0.05 * (1 + 0.8 * np.sin(np.arange(80) / 9))
    for _ in range(RUNS):
        x_c, x_t = rng.binomial(100, rate), rng.binomial(n_t, rate * risk)
        yield list(zip([100] * 80, x_c.tolist(), n_t.tolist(), x_t.tolist(), strict=True))


@pytest.mark.parametrize("rr0", [1.0, 1.1])
def test_relative_risk_of_harm(rr0: float) -> None:
    alarmed = 0
    for run in batches(61, risk=rr0):
        logs = relative_risk.NO_EVIDENCE
        for n_c, x_c, n_t, x_t in run:
            logs = relative_risk.accumulate(logs, relative_risk.log_increment(n_c, x_c, n_t, x_t, rr0=rr0))
            if relative_risk.log_e(logs) >= LIMIT:
                alarmed += 1
                break
    assert 0 < alarmed <= MOST_ALARMS


def test_relative_risk_of_safety() -> None:
    alarmed = 0
    for run in batches(62, risk=1.1):
        logs = relative_risk.NO_EVIDENCE
        for n_c, x_c, n_t, x_t in run:
            logs = relative_risk.accumulate(logs, relative_risk.safe_log_increment(n_c, x_c, n_t, x_t, rr0=1.1))
            if relative_risk.log_e(logs) >= LIMIT:
                alarmed += 1
                break
    assert 0 < alarmed <= MOST_ALARMS


@pytest.mark.parametrize("limit", [0.01, 0.2])
def test_one_rate_at_its_limit(limit: float) -> None:
    events = np.random.default_rng(63).binomial(20, limit, (RUNS, 150)).cumsum(axis=1)
    alarmed = sum(
        any(one_rate.log_e_above(x, 20 * look, limit) >= LIMIT for look, x in enumerate(run, start=1))
        for run in events.tolist()
    )
    assert 0 < alarmed <= MOST_ALARMS


def test_sample_ratio_over_a_ramp() -> None:
    rng, shares, alarmed = np.random.default_rng(64), (0.05, 0.2, 0.5), 0
    arrived = np.stack([rng.binomial(50, share, (RUNS, 20)).cumsum(axis=1) for share in shares])
    for run in range(RUNS):
        finished: list[EpochCounts] = []
        looks: list[list[EpochCounts]] = []
        for share, treatments in zip(shares, arrived[:, run].tolist(), strict=True):
            epoch = [EpochCounts(50 * n - t, t, share) for n, t in enumerate(treatments, start=1)]
            looks += [[*finished, counts] for counts in epoch]
            finished.append(epoch[-1])
        alarmed += any(sample_ratio.log_e(seen) >= LIMIT for seen in looks)
    assert 0 < alarmed <= MOST_ALARMS


def test_the_detector_of_changes_within_the_batches_of_its_tolerance() -> None:
    rng, updates, alarmed = np.random.default_rng(65), 200, 0
    threshold = e_sr.log_threshold(updates=updates, false_alarms=ALPHA)
    for x_c, x_t in zip(*rng.binomial([[[45]], [[5]]], 0.05, (2, RUNS, updates)).tolist(), strict=True):
        running = e_sr.START
        for control, treatment in zip(x_c, x_t, strict=True):
            running = e_sr.step(running, e_sr.log_increment(45, control, 5, treatment, rr0=1.0, design_effect=1.0))
            if e_sr.log_m(running) >= threshold:
                alarmed += 1
                break
    assert 0 < alarmed <= MOST_ALARMS


def test_rates_by_groups_of_units_on_both_sides() -> None:
    """Sessions of ten at 90/10, 5 % with an event, intra-session correlation 0.3; a look every 100 sessions."""
    rng, shape = np.random.default_rng(66), (RUNS, 100)
    each = np.broadcast_to(np.arange(RUNS)[:, np.newaxis], shape)
    running, units, events = np.zeros((2, 2, RUNS, GROUPS), np.int64), *np.zeros((2, 2, RUNS), np.int64)
    harmed: set[int] = set()
    safe: set[int] = set()
    for _ in range(60):
        arm, group = (rng.random(shape) < 0.1).astype(np.int64), rng.integers(0, GROUPS, shape)
        copies = rng.random((*shape, 10), np.float32) < 0.3**0.5
        own, common = rng.random((*shape, 10), np.float32), rng.random((*shape, 1), np.float32)
        event = (np.where(copies, common, own) < 0.05).sum(2)
        added = totals(RUNS, each, arm, group, event.astype(float))
        running += added * np.array([10, 1]).reshape(1, 2, 1, 1)
        for a in (0, 1):
            units[a] += (arm == a).sum(1)
            events[a] += ((arm == a) & (event > 0)).sum(1)
        found = contrasts(
            ClosedEpochs.none(RUNS, GROUPS), epoch_of(running), margin=Margin(), alphas=[ALPHA] * RUNS, tstar=5_000
        )
        for run, contrast in enumerate(found):
            if not isinstance(contrast, Contrast) or max(contrast.log_e_harm, contrast.log_e_safe) < LIMIT:
                continue
            groups = groups_floor(contrast.n_eff)
            breach = breach_event_floor(event_units_treatment=int(events[1, run]), alpha=ALPHA)
            unharmed = safe_event_floor(
                units_treatment=int(units[1, run]),
                units_control=int(units[0, run]),
                event_units_control=int(events[0, run]),
                alpha=ALPHA,
            )
            if contrast.log_e_harm >= LIMIT and first_unmet((breach, groups)) is None:
                harmed.add(run)
            if contrast.log_e_safe >= LIMIT and first_unmet((unharmed, groups)) is None:
                safe.add(run)
    assert 0 < len(harmed) <= MOST_ALARMS
    assert 0 < len(safe) <= MOST_ALARMS


def test_utility_on_both_sides() -> None:
    """D2: sessions of ten at 80/20; cost is lognormal and goes with quality; a look every 100 sessions."""
    objective = Objective(quality_0=3.0 * MICRO, cost_0=math.exp(0.125) * MICRO, lambda_cost=0.5, lambda_risk=0.0)
    factors = 1 / objective.quality_0, -objective.lambda_cost / objective.cost_0
    rng, shape = np.random.default_rng(67), (RUNS, 100)
    each = np.broadcast_to(np.arange(RUNS)[:, np.newaxis], shape)
    running, units = np.zeros((2, 2, 2, RUNS, GROUPS), np.int64), np.zeros((2, RUNS), np.int64)
    better: set[int] = set()
    worse: set[int] = set()
    for _ in range(30):
        arm, group = (rng.random(shape) < 0.2).astype(np.int64), rng.integers(0, GROUPS, shape)
        common = rng.normal(0, 1, shape)
        quality = 30 + 10 * (0.3**0.5 * common) + rng.normal(0, 7**0.5, shape)
        cost = np.exp(
            0.4 * common[..., np.newaxis]
            + rng.normal(
                0,
                0.3,
                (*shape, 10),
            )
        ).sum(2)
        for metric, x in enumerate((quality, cost)):
            running[metric] += totals(RUNS, each, arm, group, x) * np.array([10, 1]).reshape(1, 2, 1, 1)
        for a in (0, 1):
            units[a] += (arm == a).sum(1)
        nothing = ClosedEpochs.none(RUNS, GROUPS)
        metrics = [close_epoch(nothing, epoch_of(stacked), Margin()) for stacked in running]
        for run in range(RUNS):
            terms = [term(metric, run) for metric in metrics]
            parts = [(factor, part) for factor, part in zip(factors, terms, strict=True) if part is not None]
            total = combine(*parts)
            if abs(total.difference) < 1.5 * np.linalg.norm(total.influence):
                continue  # far from any alarm
            floors = continuous_floors(
                n_eff=total.n_eff, units_control=int(units[0, run]), units_treatment=int(units[1, run]), alpha=ALPHA
            )
            if first_unmet(floors) is not None:
                continue
            found = estimate(total, alpha=ALPHA, tstar=5_000)
            if found.log_e_above >= LIMIT:
                better.add(run)
            if found.log_e_below >= LIMIT:
                worse.add(run)
    assert 0 < len(better) <= MOST_ALARMS
    assert 0 < len(worse) <= MOST_ALARMS
