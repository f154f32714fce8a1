from __future__ import annotations

import pytest

from stoploss.rules.forecast import Forecast
from tests.rules.test_budget import spend
from tests.timelines import START, Timeline, actions, spec

# Planned: 0.1 dollars a second; the window is a minute.
BUDGET = "budgets: [{metric: cost_usd, limit: 360, period: 1h, actions: [{burn: 14.4, do: stop}]}]"
HOUR_S = 3_600


def begun(seconds_into_the_period: int = 0) -> Timeline:
    timeline = Timeline(spec(BUDGET))
    period = HOUR_S * 1_000_000
    timeline.at = START // period * period + period + seconds_into_the_period * 1_000_000
    return timeline.started()


def said(timeline: Timeline) -> list[tuple[str, str]]:
    return [(f.reason, f.severity) for f in timeline.breaches if f.evidence.rule == "forecast"]


def test_w2_a_budget_that_will_be_gone_before_its_period_ends_is_told_with_the_hours_left() -> None:
    timeline = begun()
    spend(timeline, 0.25, 70)
    assert said(timeline) == [("runs_out", "hold")]
    [finding] = timeline.breaches
    hours_left = (360 - 0.25 * 60) / 0.25 / HOUR_S
    assert finding.evidence.estimate == pytest.approx(hours_left, rel=0.05)
    assert finding.evidence.lower < finding.evidence.estimate < finding.evidence.upper  # type: ignore[operator]
    assert "the budget runs out before its period ends" in finding.sentence


def test_a_forecast_orders_and_holds_nothing() -> None:
    timeline = begun()
    spend(timeline, 0.25, 70)
    assert (actions(timeline), timeline.it.lifecycle) == (["set_exposure"], "running")


def test_the_same_rate_late_in_the_period_is_no_danger() -> None:
    timeline = begun(seconds_into_the_period=HOUR_S - 600)
    spend(timeline, 0.25, 120)
    assert said(timeline) == []


def test_spending_as_planned_does_not_run_out() -> None:
    timeline = begun()
    spend(timeline, 0.09, 120)
    assert said(timeline) == []


def test_before_the_window_is_full_nothing_is_forecast() -> None:
    timeline = begun()
    spend(timeline, 0.4, 58)
    rule = next(rule for rule in timeline.it.rules if isinstance(rule, Forecast))
    [verdict] = rule.judge(timeline.it.current.rules[rule.key], None)  # type: ignore[arg-type]
    assert verdict.floor is not None
    assert (verdict.outcome, verdict.floor.required) == ("undecided", 60)


def test_a_new_period_begins_with_the_whole_budget() -> None:
    timeline = begun(seconds_into_the_period=HOUR_S - 90)
    spend(timeline, 0.09, 180)
    state = timeline.it.current.rules["forecast[0]"]
    [first, second] = state.spent.values()  # type: ignore[union-attr]
    assert first / 1e9 == pytest.approx(0.09 * 90, rel=0.05)
    assert second / 1e9 == pytest.approx(0.09 * 90, rel=0.05)


def test_control_spends_from_no_budget() -> None:
    timeline = begun()
    spend(timeline, 0.4, 80, arm=0)
    assert said(timeline) == []


def test_an_objective_is_no_budget_that_runs_out() -> None:
    slo = (
        "budgets: [{slo: {metric: latency_ms, threshold: 1, target: 0.9}, period: 1h, actions: [{burn: 6, do: pause}]}]"
    )
    assert not any(isinstance(rule, Forecast) for rule in Timeline(spec(slo)).started().it.rules)
