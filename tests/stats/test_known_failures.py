"""What goes wrong without the recipe, and that the recipe cures it: each failure was met in simulation before it was
built against. All traffic here is without any effect, so every alarm is false; alarms count once for each experiment.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from river.drift import ADWIN
from scipy.stats import binom

from stoploss.stats import e_sr, relative_risk, sample_ratio
from stoploss.stats.asymptotic import log_e_one_sided, tuning_rho
from stoploss.stats.contrast import ClosedEpochs, Contrast, Margin, close_epoch, contrasts
from stoploss.stats.floors import first_unmet, groups_floor, safe_event_floor
from stoploss.stats.sample_ratio import EpochCounts

from .traffic import GROUPS, MICRO, Look, alarms, epoch_of, heavy_users, totals

pytestmark = pytest.mark.slow

ALPHA = 0.05
LIMIT = -math.log(ALPHA)


def kept(alarmed: int, runs: int, alpha: float = ALPHA) -> bool:
    """Exact binomial: were alpha true, as many alarms or more would come up in over 1 of 1,000 suites."""
    return bool(binom.sf(alarmed - 1, runs, alpha) > 1e-3)


# Heavy users: one who alone makes a tenth of the traffic is one witness, not a tenth of all.


def plain_alarms(looks: Iterator[Look], sign: int) -> int:
    """z as it is, once the arm of the treatment has 1,000 traces in 64 groups."""
    fired: set[int] = set()
    for look in looks:
        n = look.epoch.treatment.n
        ready = (np.count_nonzero(n, axis=1) >= 64) & (n.sum(axis=1) >= 1_000)
        found = contrasts(look.closed, look.epoch, margin=Margin(), alphas=[ALPHA] * len(n), tstar=5_000)
        for run in np.flatnonzero(ready).tolist():
            contrast = found[run]
            if isinstance(contrast, Contrast) and log_e_one_sided(sign * contrast.z, contrast.k) >= LIMIT:
                fired.add(run)
    return len(fired)


def test_heavy_users_alone_would_call_a_canary_safe() -> None:
    assert plain_alarms(heavy_users(21, 150, 60, cap_per_day=None), sign=-1) > 0.2 * 150


def test_capped_and_corrected_heavy_users_keep_the_promise_even_for_both_sides_together() -> None:
    looks = heavy_users(22, 300, 60, cap_per_day=10)
    [alarmed] = alarms(looks, ALPHA, lambda contrast: max(contrast.log_e_harm, contrast.log_e_safe))
    assert kept(alarmed, 300)


# Epoch weights: under skew, an epoch with a small mean by chance comes with a small variance by chance.

EPOCHS, RARE = 40, 0.01


def rare_epochs(seed: int, runs: int) -> Iterator[np.ndarray]:
    """Epochs of 2,000 independent traces, turn by turn at 90/10 and at 50/50, 1 % with an event: totals by arm."""
    rng, shape = np.random.default_rng(seed), (runs, 2_000)
    each = np.broadcast_to(np.arange(runs)[:, np.newaxis], shape)
    for epoch in range(EPOCHS):
        arm = (rng.random(shape) < (0.1, 0.5)[epoch % 2]).astype(np.int64)
        group, event = rng.integers(0, GROUPS, shape), (rng.random(shape) < RARE).astype(float)
        yield totals(runs, each, arm, group, event)


def test_weights_by_precision_would_call_nearly_every_canary_safe() -> None:
    runs = 200
    weight, weighted, influence, clock = np.zeros(runs), np.zeros(runs), np.zeros((runs, GROUPS)), np.zeros(runs)
    fired, rho = np.zeros(runs, bool), tuning_rho(ALPHA, 5_000, sided="one")
    for stacked in rare_epochs(23, runs):
        alone = close_epoch(ClosedEpochs.none(runs, GROUPS), epoch_of(stacked), Margin())
        h, mine = alone.weight[:, np.newaxis], alone.influence / alone.weight[:, np.newaxis]
        precision = 1 / np.sum(mine * mine, axis=1)
        weight += precision
        weighted += precision * alone.weighted_difference / alone.weight
        influence += precision[:, np.newaxis] * mine
        clock += 4 * h[:, 0]
        z = weighted / np.sqrt(np.sum(influence * influence, axis=1))
        fired |= [log_e_one_sided(-value, k) >= LIMIT for value, k in zip(z, clock * rho * rho, strict=True)]
    assert fired.mean() > 0.8


def test_weights_by_traffic_keep_the_promise_over_rare_epochs() -> None:
    runs, events = 1_000, np.zeros((2, 1_000), np.int64)
    units, fired = events.copy(), set()
    closed, nothing = ClosedEpochs.none(runs, GROUPS), epoch_of(np.zeros((2, 2, runs, GROUPS), np.int64))
    for stacked in rare_epochs(24, runs):
        closed = close_epoch(closed, epoch_of(stacked), Margin())
        units, events = units + stacked[:, 0].sum(2), events + stacked[:, 1].sum(2) // MICRO
        for run, contrast in enumerate(contrasts(closed, nothing, margin=Margin(), alphas=[ALPHA] * runs, tstar=5_000)):
            assert isinstance(contrast, Contrast)
            floor = safe_event_floor(
                units_treatment=int(units[1, run]),
                units_control=int(units[0, run]),
                event_units_control=int(events[0, run]),
                alpha=ALPHA,
            )
            if contrast.log_e_safe >= LIMIT and first_unmet((floor, groups_floor(contrast.n_eff))) is None:
                fired.add(run)
    assert kept(len(fired), runs)


# Sessions: ten alike traces are one witness.


def alike_events(rng: np.random.Generator, sessions: int, rate: float) -> np.ndarray:
    """0/1 of ten traces a session, (sessions, 10), intra-session correlation 0.3."""
    copies = rng.random((sessions, 10)) < 0.3**0.5
    return np.where(copies, rng.random((sessions, 1)), rng.random((sessions, 10))) < rate


def relative_risk_alarms(seed: int, runs: int, *, first_only: bool) -> int:
    """50,000 traces a run in sessions of ten at 50/50, 1 % with an event; a batch is 50 sessions."""
    rng, fired = np.random.default_rng(seed), 0
    for _ in range(runs):
        logs = relative_risk.NO_EVIDENCE
        event = alike_events(rng, 5_000, RARE)[:, : 1 if first_only else 10].reshape(100, 50, -1)
        arm = rng.random((100, 50)) < 0.5
        for x, t in zip(event, arm, strict=True):
            counts = x[~t].size, int(x[~t].sum()), x[t].size, int(x[t].sum())
            logs = relative_risk.accumulate(logs, relative_risk.log_increment(*counts, rr0=1.0))
            if relative_risk.log_e(logs) >= LIMIT:
                fired += 1
                break
    return fired


def test_relative_risk_of_all_traces_would_alarm_six_times_as_often_as_promised() -> None:
    assert relative_risk_alarms(25, 200, first_only=False) > 4 * ALPHA * 200


def test_relative_risk_of_first_traces_keeps_the_promise() -> None:
    assert kept(relative_risk_alarms(26, 1_000, first_only=True), 1_000)


def e_sr_alarms(seed: int, *, effect: float) -> int:
    """200,000 batches of five sessions of ten traces an arm, 5 % with an event; every alarm restarts the detector."""
    rng, threshold, alarmed = np.random.default_rng(seed), math.log(1_000), 0
    running = e_sr.START
    for _ in range(20):
        events = alike_events(rng, 10_000 * 10, 0.05).reshape(10_000, 2, 50).sum(2).tolist()
        for x_c, x_t in events:
            running = e_sr.step(running, e_sr.log_increment(50, x_c, 50, x_t, rr0=1.0, design_effect=effect))
            if e_sr.log_m(running) >= threshold:
                alarmed, running = alarmed + 1, e_sr.START
    return alarmed


def control_design_effect(seed: int) -> float:
    rng = np.random.default_rng(seed)
    group, events = rng.integers(0, GROUPS, 5_000), alike_events(rng, 5_000, 0.05).sum(1)
    n = np.bincount(group, minlength=GROUPS) * 10
    return e_sr.design_effect(np.bincount(group, events, GROUPS).astype(int).tolist(), n.tolist()) or 0.0


def test_untempered_the_detector_of_changes_would_alarm_ten_times_as_often_as_promised() -> None:
    """The promise: at most one alarm in A batches on average, A = 1,000, hence 200."""
    assert e_sr_alarms(27, effect=1.0) > 2_000


def test_tempered_by_the_design_effect_it_keeps_the_promise() -> None:
    effect = control_design_effect(28)
    assert effect > 2
    assert e_sr_alarms(29, effect=effect) <= 200


def adwin_alarms(values: list[float]) -> int:
    detector, alarmed = ADWIN(), 0
    for value in values:
        detector.update(value)
        alarmed += detector.drift_detected
    return alarmed


def session_values(seed: int) -> np.ndarray:
    """500,000 values in sessions of ten, intra-session correlation 0.3."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.3**0.5, (50_000, 1)) + rng.normal(0, 0.7**0.5, (50_000, 10))


def test_traces_of_sessions_would_alarm_adwin() -> None:
    assert adwin_alarms(session_values(30).ravel().tolist()) > 50


def test_means_over_units_do_not_alarm_adwin() -> None:
    """Windows of about 32 traces: three sessions, scaled to a standard deviation of one."""
    means = session_values(31).mean(axis=1)[:49_998].reshape(-1, 3).mean(axis=1)
    assert adwin_alarms((means / means[:16].std()).tolist()) <= 1


# Sample ratio: who has finished by now depends on how slow the arm is.


def starts_and_ends(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start and end in seconds and arm of 12,000 units at 50/50 over 240 s; the treatment takes 4 s longer."""
    rng = np.random.default_rng(seed)
    start, arm = np.sort(rng.uniform(0, 240, 12_000)), rng.random(12_000) < 0.5
    return start, start + np.exp(rng.normal(0.5, 0.5, 12_000)) + 4 * arm, arm


def skewed(counted_at: np.ndarray, arm: np.ndarray) -> bool:
    """Whether the split is ever refuted at 0.1 %, looked at every second."""
    for second in range(1, 300):
        here = arm[counted_at <= second]
        counts = EpochCounts(control=int((~here).sum()), treatment=int(here.sum()), share=0.5)
        if sample_ratio.log_e([counts]) >= -math.log(0.001):
            return True
    return False


def test_counted_by_completion_a_slower_treatment_would_seem_to_lose_units() -> None:
    for seed in range(32, 42):
        _, end, arm = starts_and_ends(seed)
        assert skewed(end, arm)


def test_counted_by_start_once_the_timeout_is_over_it_loses_none() -> None:
    assert kept(sum(skewed(start + 60, arm) for start, _, arm in map(starts_and_ends, range(50, 150))), 100, 0.001)
