from __future__ import annotations

import numpy as np
import pytest

from stoploss.lifecycle import Lifecycle
from stoploss.rules.budget import BudgetState
from tests.timelines import SPEC, Timeline, Traces, actions, spec, traces

# Planned: 0.1 dollars a second. At 14.4 the windows are 5 s and 0.4 s (one second here), at 6 they are 30 s and 2.5 s.
SPEND = """
budgets:
  - {metric: cost_usd, limit: 360, period: 1h, actions: [{burn: 6, do: throttle, to: 0.01}, {burn: 14.4, do: stop}]}
"""
SLOW = "budgets: [{metric: cost_usd, limit: 360, period: 1h, actions: [{burn: 6, do: pause}]}]"
SLO = """
budgets:
  - {slo: {metric: latency_ms, threshold: 2000, target: 0.99}, period: 1h, actions: [{burn: 14.4, do: pause}]}
"""


def spending(dollars: float, arm: int = 1, seed: int = 1) -> Traces:
    """A few traces that cost so much together, all of it in one arm."""
    some = traces(20, seed=seed, users=1_000)
    mine = some.variant == arm
    some.metrics["cost_usd"] = np.where(mine, int(dollars * 1e9 / mine.sum()), 0)
    return some


def spend(timeline: Timeline, dollars_a_second: float, seconds: int, arm: int = 1) -> None:
    for second in range(seconds):
        timeline.traces(spending(dollars_a_second, arm, seed=second))
        timeline.seconds(1)


def test_a_slow_burn_throttles_once_the_long_window_is_used_up() -> None:
    timeline = Timeline(spec(SPEND)).started()
    spend(timeline, 0.7, 20)
    assert actions(timeline) == ["set_exposure"]
    spend(timeline, 0.7, 10)
    assert actions(timeline) == ["set_exposure", "throttle"]
    command = timeline.commands[-1]
    assert (command.exposure, command.expires_at, timeline.it.lifecycle) == (0.01, None, Lifecycle.RUNNING)
    assert "burns its budget" in command.reason
    assert "(limit 6 times)" in command.reason


def test_a_burn_that_gets_worse_is_throttled_and_then_stopped() -> None:
    timeline = Timeline(spec(SPEND)).started()
    spend(timeline, 0.7, 30)
    spend(timeline, 2.0, 6)
    assert actions(timeline) == ["set_exposure", "throttle", "stop"]


def test_a_fast_burn_stops_without_waiting_for_the_long_windows() -> None:
    timeline = Timeline(spec(SPEND)).started()
    spend(timeline, 2.0, 5)
    assert actions(timeline) == ["set_exposure", "stop"]


def test_spending_as_planned_burns_nothing() -> None:
    timeline = Timeline(spec(SPEND)).started()
    spend(timeline, 0.1, 60)
    assert actions(timeline) == ["set_exposure"]


def test_the_control_arm_spends_from_no_budget() -> None:
    timeline = Timeline(spec(SPEND)).started()
    spend(timeline, 5.0, 40, arm=0)
    assert actions(timeline) == ["set_exposure"]


def test_a_burst_that_is_over_does_not_fire_although_the_long_window_is_full() -> None:
    """The short window says that it still goes on; 18 dollars in 30 s burn at 6."""
    timeline = Timeline(spec(SLOW)).started()
    spend(timeline, 17.0, 1)
    timeline.seconds(10)
    spend(timeline, 0.5, 4)
    assert actions(timeline) == ["set_exposure"]
    spend(timeline, 1.5, 2)
    assert actions(timeline) == ["set_exposure", "pause"]


def test_time_moves_the_windows_on_without_any_traffic() -> None:
    timeline = Timeline(spec(SLOW)).started()
    spend(timeline, 17.0, 1)
    timeline.seconds(31)
    spend(timeline, 1.5, 2)
    assert actions(timeline) == ["set_exposure"]
    assert timeline.it.current.rules["budget[0]"].watermark == timeline.at  # type: ignore[union-attr]


def test_buckets_that_no_window_reaches_any_more_are_forgotten() -> None:
    timeline = Timeline(spec(SLOW)).started()
    spend(timeline, 0.01, 120)
    state = timeline.it.current.rules["budget[0]"]
    assert state.size == 30  # type: ignore[union-attr]
    # The newest bucket is of the tick after the last traces; some ten of each second's twenty are the treatment's.
    assert 29 * 5 < state.window(30)[0] < 29 * 15  # type: ignore[union-attr]


def test_a_late_event_counts_in_its_own_bucket_and_one_that_no_window_reaches_in_none() -> None:
    state = BudgetState(np.zeros((2, 10), np.int64), [])
    for number, amount in ((100, 1), (105, 2), (96, 4), (95, 8), (109, 16)):
        state.advance(number)
        state.add(number, 1, amount)
    assert [state.window(buckets)[1] for buckets in (1, 4, 5, 10)] == [16, 16, 18, 19]
    state.advance(1_000)
    assert state.window(10) == (0, 0)


def test_the_window_is_the_same_sum_as_over_all_events_whatever_their_order() -> None:
    rng = np.random.default_rng(3)
    state, events = BudgetState(np.zeros((2, 37), np.int64), []), []
    for _ in range(500):
        number = int(state.latest + rng.integers(-40, 4))
        state.advance(number)
        state.add(number, 1, number % 7)
        events.append(number)
        for buckets in (1, 5, 37):
            inside = [one for one in events if state.latest - buckets < one <= state.latest]
            assert state.window(buckets) == (len(inside), sum(one % 7 for one in inside))


def test_spending_counts_by_when_the_request_was_not_by_when_it_was_read() -> None:
    """Two hours of backlog in one second are no burn."""
    timeline = Timeline(spec(SLOW)).started()
    some = traces(2_000, seed=1, cost_usd=0.02)
    at = timeline.at - np.linspace(7_200, 0, some.rows) * 1e6
    timeline.traces(some, block_rows=2_000, at=at.astype("<i8").tobytes())
    timeline.seconds(1)
    assert actions(timeline) == ["set_exposure"]


def late(units: int, rows: int = 200, seed: int = 3) -> Traces:
    """Traces of which every one of the treatment misses the objective, from so many users."""
    some = traces(rows, seed=seed, users=4_000)
    treated = np.flatnonzero(some.variant == 1)
    some.metrics["latency_ms"] = np.where(some.variant == 1, 5_000_000, 100_000)
    some.unit[treated] = np.random.default_rng(seed).integers(0, 2**64, units, dtype=np.uint64)[
        np.arange(treated.size) % units
    ]
    return some


@pytest.mark.parametrize(("units", "ordered"), [(1, []), (9, []), (10, ["pause"])])
def test_an_objective_burns_only_once_ten_units_have_missed_it(units: int, ordered: list[str]) -> None:
    """One user's retry loop is a hundred bad requests and no outage."""
    timeline = Timeline(spec(SLO)).started()
    timeline.traces(late(units))
    timeline.seconds(1)
    assert actions(timeline)[1:] == ordered


def test_an_objective_that_is_met_does_not_burn() -> None:
    timeline = Timeline(spec(SLO)).started()
    for seed in range(10):
        timeline.traces(traces(500, seed=seed, latency_ms=(100.0, 100.0)))
        timeline.seconds(1)
    assert actions(timeline) == ["set_exposure"]


def test_a_throttle_that_would_raise_exposure_is_not_ordered() -> None:
    timeline = Timeline(spec(SPEND.replace("to: 0.01", "to: 0.8")))
    timeline.ask("register")
    timeline.ask("start", exposure=0.5)
    spend(timeline, 0.7, 31)
    assert [f.evidence.rule for f in timeline.breaches] == ["budget"]
    assert actions(timeline) == ["set_exposure"]


def test_exposures_between_a_command_and_its_acks_are_paid_for_too() -> None:
    controlled = SPEC.replace("control: current}", "control: current, controllers: [flagd]}")
    timeline = Timeline(spec(SPEND, controlled))
    timeline.ask("register")
    timeline.ask("start")
    spend(timeline, 2.0, 5)
    assert actions(timeline) == ["set_exposure", "stop"]


def test_a_negative_cost_gives_no_money_back_and_ends_no_judge() -> None:
    timeline = Timeline(spec(SPEND)).started()
    timeline.traces(spending(-50.0))
    timeline.seconds(2)
    assert timeline.findings == []
