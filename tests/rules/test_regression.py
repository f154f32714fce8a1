"""Harm that begins after the start: what is learnt, what is found, and what never is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom, norm

from stoploss import snapshot
from stoploss.lifecycle import Lifecycle
from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.rules.reading import REFERENCE
from stoploss.rules.regression import LEARN_TRACES, Regression, RegressionState
from stoploss.rules.rows import IntArray, Moment, Rows, UnitArray
from stoploss.rules.verdict import Outcome, Reason, Verdict
from stoploss.segments import Dimension
from stoploss.sentences import sentence
from stoploss.spec.file import parse_experiment
from stoploss.stats import e_sr
from tests.timelines import SECRET, Timeline, actions, spec, traces

ERRORS = "{metric: error_rate, direction: lower, margin: {relative: 0.10}, action: rollback}"
LATENCY = "{metric: latency_ms, direction: lower, margin: {absolute: 50}, action: pause}"
SECONDS_OF_LEARNING = LEARN_TRACES // 2_500 + 1
Values = Callable[[np.random.Generator, IntArray, UnitArray], IntArray]


def rule(guardrail: str = ERRORS) -> Regression:
    experiment = parse_experiment(spec(f"guardrails: [{guardrail}]"))
    return Regression.of(GuardrailPlan.of(experiment, 0, experiment.spec.guardrails[0]))


class Run:
    """A rule that is fed a second of rows at a time."""

    def __init__(self, guardrail: str = ERRORS, seed: int = 1, users: int = 50_000) -> None:
        self.rule, self.rng, self.users = rule(guardrail), np.random.default_rng(seed), users
        self.state: RegressionState = self.rule.initial()
        self.second = 1

    def moment(self) -> Moment:
        return Moment(self.second * 1_000_000, True, True, 0.5, {"": Dimension("", {"": 0})}, ("",))

    def feed(self, values: Values, seconds: int = 1, rows: int = 2_500, arms: tuple[int, ...] = (0, 1)) -> Run:
        for _ in range(seconds):
            self.second += 1
            self.rule.fold(self.state, self.rows(values, rows, arms), self.moment())
        return self

    def rows(self, values: Values, n: int, arms: tuple[int, ...]) -> Rows:
        unit = self.rng.integers(0, self.users, n).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        arm = ((unit >> np.uint64(40)) & np.uint64(1)).astype(np.int64)
        mine = np.isin(arm, arms)
        unit, arm = unit[mine], arm[mine]
        every, none = np.ones(arm.size, np.bool_), np.zeros(arm.size, np.int64)
        x = {self.rule.plan.column: values(self.rng, arm, unit)}
        return Rows(arm, unit, none, none, True, every, every, every, {"": none}, x, none.astype(np.uint32), {})

    def learnt(self, values: Values) -> Run:
        return self.feed(values, SECONDS_OF_LEARNING + (0 if self.rule.plan.binary else 1)).tick()

    def tick(self) -> Run:
        self.second += 1
        self.rule.tick(self.state, self.moment())
        return self

    def verdict(self) -> Verdict:
        [verdict] = self.rule.judge(self.state, self.moment())
        return verdict

    def until_breach(self, values: Values, rows: int = 500, at_most: int = 200) -> int | None:
        """Seconds until it breaches."""
        for second in range(1, at_most + 1):
            if self.feed(values, rows=rows).tick().verdict().outcome == Outcome.BREACH:
                return second
        return None


def events(control: float, treatment: float) -> Values:
    return lambda rng, arm, unit: (rng.random(arm.size) < np.array([control, treatment])[arm]).astype(np.int64)


def alike_within_users(p: float, icc: float) -> Values:
    """Each user has a rate of their own, Beta with this intraclass correlation."""
    per_user = np.random.default_rng(77).beta(p * (1 / icc - 1), (1 - p) * (1 / icc - 1), 4_096)
    return lambda rng, arm, unit: (rng.random(arm.size) < per_user[(unit >> np.uint64(50)) % np.uint64(4_096)]).astype(
        np.int64
    )


def latency(shift: float) -> Values:
    """Milliseconds, normal with a standard deviation of 100; the treatment's are shifted by so many of them."""
    return lambda rng, arm, unit: np.rint(
        (1_000 + 100 * rng.standard_normal(arm.size) + 100 * shift * arm) * 1_000
    ).astype(np.int64)


# ---- what it finds -------------------------------------------------------------------------------


def test_a_rate_that_rises_after_a_hundred_thousand_clean_traces_is_found_within_seconds() -> None:
    run = Run().learnt(events(0.02, 0.02))
    assert run.verdict().outcome == Outcome.OK
    seconds = run.until_breach(events(0.02, 0.08))
    assert seconds is not None
    assert seconds <= 12
    verdict = run.verdict()
    assert (verdict.reason, verdict.evidence.rule) == (Reason.REGRESSED, "regression")
    assert verdict.evidence.observed is not None
    assert verdict.evidence.observed >= math.log(30 * 86_400 / 0.01)
    assert verdict.evidence.treatment == pytest.approx(0.08, abs=0.02)
    assert verdict.evidence.n_treatment < 5_000


def test_a_shift_of_a_metric_is_found_in_the_share_of_its_bad_values() -> None:
    run = Run(LATENCY).learnt(latency(0.0))
    seconds = run.until_breach(latency(1.2))
    assert seconds is not None
    assert seconds <= 15
    assert run.verdict().detail.startswith("share above 1,07")
    assert "control's frozen 75 % quantile, since about " in run.verdict().detail


def test_the_sentence_says_that_it_began_after_the_start_and_with_which_numbers() -> None:
    run = Run().learnt(events(0.02, 0.02))
    assert run.until_breach(events(0.02, 0.2)) is not None
    words = sentence(run.verdict(), parse_experiment(spec(f"guardrails: [{ERRORS}]")))
    assert words.startswith("error_rate (since about ")
    assert "s ago) became worse with 'small' some time after the start: " in words
    assert "(log of the change detector " in words
    assert words.endswith(", limit 19.37)")


def test_the_guardrails_own_action_follows_and_the_run_ends() -> None:
    """The guardrail itself, with a long clean past, has said nothing by then."""
    timeline = Timeline(spec(f"guardrails: [{ERRORS.replace('0.10', '0.50')}]")).started()
    for second in range(SECONDS_OF_LEARNING + 20):
        rate = 0.02 if second <= SECONDS_OF_LEARNING else 0.08
        timeline.seconds(1)
        timeline.traces(traces(2_500, seed=second, users=10**6, error_rate=(0.02, rate)), block_rows=2_500)
        if len(timeline.commands) > 1:
            break
    assert actions(timeline) == ["set_exposure", "rollback"]
    assert timeline.it.lifecycle == Lifecycle.ROLLED_BACK
    assert [f.evidence.rule for f in timeline.breaches] == ["regression"]
    assert "safe" in [f.verdict for f in timeline.findings]


# ---- what it does not ----------------------------------------------------------------------------


def test_it_learns_before_it_judges_however_gross_the_harm_and_says_what_it_lacks() -> None:
    run = Run().feed(events(0.02, 0.9), SECONDS_OF_LEARNING - 3).tick()
    verdict = run.verdict()
    assert (verdict.outcome, verdict.reason) == (Outcome.UNDECIDED, Reason.LEARNING)
    assert sentence(verdict, parse_experiment(spec())) == (
        "error_rate: whether it became worse is undecided: 95,000 of 100,000 traces to learn what is usual from"
    )


def test_without_a_hundred_events_of_control_nothing_is_known_of_its_usual_rate() -> None:
    run = Run().learnt(events(0.0002, 0.0002))
    assert run.verdict().floor is not None
    assert run.verdict().floor.what == "events of control to learn what is usual from"  # type: ignore[union-attr]


def test_what_was_so_from_the_start_is_the_guardrails_to_judge() -> None:
    run = Run().learnt(events(0.02, 0.04))
    assert run.state.unchanged is not None
    assert run.state.unchanged > 2
    assert run.until_breach(events(0.02, 0.04), rows=2_500, at_most=100) is None


def test_a_rise_in_both_arms_is_no_regression() -> None:
    run = Run().learnt(events(0.02, 0.02))
    assert run.until_breach(events(0.2, 0.2), rows=2_500, at_most=100) is None


def test_a_rise_within_the_margin_is_tolerated_as_the_guardrail_tolerates_it() -> None:
    run = Run(ERRORS.replace("0.10", "2.0")).learnt(events(0.02, 0.02))
    assert run.state.unchanged == 3.0
    assert run.until_breach(events(0.02, 0.055), rows=2_500, at_most=100) is None


def test_the_margin_of_a_mean_is_the_rise_of_bad_values_that_it_makes_in_control() -> None:
    """Half a standard deviation more makes 25 % above the upper quartile 43 %."""
    run = Run(LATENCY).learnt(latency(0.0))
    expected = (1 - norm.cdf(norm.ppf(0.75) - 0.5)) / 0.25
    assert run.state.reference.values.size == REFERENCE
    assert run.state.unchanged == pytest.approx(expected, rel=0.08)


def test_the_margin_of_a_score_that_should_be_high_is_read_downwards() -> None:
    score = "{metric: resolved, direction: higher, margin: {absolute: 0.05}}"
    bright: Values = lambda rng, arm, unit: np.rint((0.7 + 0.1 * rng.standard_normal(arm.size)) * 1e6).astype(np.int64)  # noqa: E731
    run = Run(score).learnt(bright)
    expected = (1 - norm.cdf(norm.ppf(0.75) - 0.5)) / 0.25
    assert run.state.unchanged == pytest.approx(expected, rel=0.08)


# ---- how it counts -------------------------------------------------------------------------------


def test_the_detector_is_what_the_formula_gives_for_each_second() -> None:
    run = Run().learnt(events(0.05, 0.05))
    state, logs = run.state, tuple(run.state.log_m)
    assert state.unchanged is not None
    for _ in range(5):
        run.feed(events(0.05, 0.07))
        (n_c, n_t), (x_c, x_t) = state.pending.tolist()
        run.tick()
        d = state.design or 1.0
        logs = e_sr.step(logs, e_sr.log_increment(n_c, x_c, n_t, x_t, rr0=state.unchanged, design_effect=d))
    assert tuple(state.log_m) == logs


def test_what_is_unchanged_is_what_the_formula_gives_for_the_first_traces() -> None:
    state = Run(ERRORS.replace("0.10", "0.0")).learnt(events(0.05, 0.05)).state
    (n_c, n_t), (x_c, x_t) = state.learnt.tolist()
    assert n_c + n_t >= LEARN_TRACES
    expected = e_sr.frozen_rr0(x_c, n_c, x_t, n_t, design_effect=state.design or 1.0)
    assert state.unchanged == pytest.approx(expected, rel=0.01)


def test_a_ramp_whose_share_and_level_move_together_is_not_taken_for_a_usual_harm() -> None:
    """5 % of traffic at a rate of 1 %, then half of it at 6 %: pooled, the treatment has twice control's rate."""
    run = Run()
    for _ in range(60):
        run.feed(events(0.01, 0.01), rows=1_000, arms=(0,))
        run.second -= 1  # what follows falls into the same second
        run.feed(events(0.01, 0.01), rows=100)
    run.feed(events(0.06, 0.06), seconds=30).tick()
    (n_c, n_t), (x_c, x_t) = run.state.learnt.tolist()
    assert (x_t / n_t) / (x_c / n_c) > 1.2
    assert run.state.unchanged is not None
    assert run.state.unchanged < 1.2


def test_alike_traces_of_one_user_are_worth_less() -> None:
    independent = Run(users=500).learnt(events(0.05, 0.05)).state.design
    alike = Run(users=500).learnt(alike_within_users(0.05, 0.3)).state.design
    assert independent is not None
    assert independent < 1.5
    assert alike is not None
    assert alike > 5


def test_a_batch_waits_for_both_arms_and_never_crosses_epochs() -> None:
    run = Run().learnt(events(0.05, 0.05))
    before = list(run.state.log_m)
    run.feed(events(0.05, 0.05), arms=(0,)).tick()
    assert run.state.log_m == before
    assert run.state.pending.any()
    run.rule.close_epoch(run.state, run.moment())
    run.feed(events(0.05, 0.9), arms=(1,)).tick()
    assert run.state.log_m == before
    run.feed(events(0.05, 0.9), arms=(0,)).tick()
    assert run.state.log_m != before


def test_what_was_learnt_survives_an_epoch_and_a_snapshot() -> None:
    run = Run().learnt(events(0.05, 0.05))
    run.rule.close_epoch(run.state, run.moment())
    assert run.state.unchanged is not None
    saved = snapshot.dump(run.state, SECRET)
    assert snapshot.dump(snapshot.load(RegressionState, saved, SECRET), SECRET) == saved


@pytest.mark.slow
def test_false_alarms_among_alike_traces_stay_below_what_the_limit_promises() -> None:
    """P(log M reaches ln A within H batches) <= H / A, with sessions whose traces are alike."""
    runs, batches, tolerated = 120, 400, 0.1
    limit, alarms, values = math.log(batches / tolerated), 0, alike_within_users(0.05, 0.3)
    for seed in range(runs):
        run = Run(seed=seed, users=1_000).learnt(values)
        highest = -math.inf
        for _ in range(batches):
            run.feed(values, rows=100)
            highest = max(highest, e_sr.log_m(run.state.log_m))
        alarms += highest >= limit
    assert alarms <= binom.ppf(0.999, runs, tolerated)
