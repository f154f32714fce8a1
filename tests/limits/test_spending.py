"""R5: what experiments, teams and the programme have spent of their budgets, and when it will be gone."""

from __future__ import annotations

import pytest

from stoploss.errors import InvalidExperiment
from stoploss.journal import Spend
from stoploss.limits.spending import HOUR, LONGEST_H, Balance, Spendings, accounts, balance, exhausted
from stoploss.policy.file import parse_policy
from stoploss.policy.model import Budgets
from tests.governance.institution import POLICY_TEXT

DAY = 24 * HOUR
NOON = 20_000 * DAY + DAY // 2
TEAMS = {"a": "search", "b": "search", "c": "shop"}


def budgets(text: str) -> Budgets:
    return parse_policy(f"{POLICY_TEXT}  budgets: {text}\n").spec.budgets


def found(text: str, spendings: Spendings, at: int = NOON) -> dict[str, Balance]:
    balances = [balance(account, spendings, at) for account in accounts(budgets(text), TEAMS)]
    return {f"{one.account.scope} {one.account.name}".strip(): one for one in balances}


def spent(*entries: tuple[str, int, float]) -> Spendings:
    """experiment, at, dollars; each spent in the minute before."""
    spendings = Spendings()
    for experiment, at, usd in entries:
        spendings.hear(experiment, at, Spend(round(usd * 1e9), at - HOUR // 60))
    return spendings


ALL = (
    "{programme: {limit: 100, period: 24h}, perTeam: {limit: 50, period: 24h}, perExperiment: {limit: 30, period: 24h}}"
)


def test_each_budget_has_what_its_experiments_have_spent_in_the_period() -> None:
    """R5"""
    spendings = spent(("a", NOON, 10), ("a", NOON - HOUR, 5), ("b", NOON, 7), ("c", NOON, 1), ("a", NOON - DAY, 90))
    assert {name: one.spent_usd for name, one in found(ALL, spendings).items()} == {
        "programme": 23.0,
        "team search": 22.0,
        "team shop": 1.0,
        "experiment a": 15.0,
        "experiment b": 7.0,
        "experiment c": 1.0,
    }


def test_a_period_begins_anew_at_its_hour_of_utc() -> None:
    """R5"""
    midnight = 20_001 * DAY
    spendings = spent(("a", midnight - 1, 40))
    before, after = (found(ALL, spendings, at)["experiment a"] for at in (midnight - 1, midnight))
    assert (before.exhausted, before.ends_at.isoformat()) == (True, "2024-10-05T00:00:00+00:00")
    assert (after.exhausted, after.spent_usd) == (False, 0.0)


def test_a_team_with_a_budget_of_its_own_has_that() -> None:
    """R5"""
    lines = found("{perTeam: {limit: 50, period: 24h}, teams: {shop: {limit: 5, period: 1h}}}", Spendings())
    assert {name: one.account.limit.limit for name, one in lines.items()} == {"team search": 50.0, "team shop": 5.0}


def test_only_who_draws_on_a_spent_budget_is_named() -> None:
    """R5: what the others spend is their own."""
    lines = found(ALL, spent(("a", NOON, 29), ("b", NOON, 22), ("c", NOON, 1))).values()
    assert [one.account.text for one in exhausted(lines, "b")] == ["the budget of team search"]
    assert list(exhausted(lines, "c")) == []
    (first,) = exhausted(lines, "a")
    assert first.sentence == (
        "the budget of team search is spent: 51.00 of 50.00 USD in the period that ends at 2024-10-05 00:00 UTC"
    )


def test_the_forecast_is_that_of_the_pace_of_lately() -> None:
    """R5: 2 dollars an hour for an hour, 20 left, 12 hours to go."""
    minutes = [("a", NOON - minute * HOUR // 60, 2 / 60) for minute in range(60)]
    line = found("{perExperiment: {limit: 22, period: 24h}}", spent(*reversed(minutes)))["experiment a"]
    assert line.chance == pytest.approx(1.0)
    assert line.gone_in_h == pytest.approx((10.0, 10.0, 10.0), rel=1e-6)


def test_the_forecast_of_an_uneven_pace_has_a_width() -> None:
    minutes = [("a", NOON - minute * HOUR // 60, (minute % 10) / 60) for minute in range(60)]
    line = found("{perExperiment: {limit: 30, period: 24h}}", spent(*reversed(minutes)))["experiment a"]
    early, middle, late = line.gone_in_h
    assert early < middle < late
    assert middle == pytest.approx((30 - 4.5) / 4.5, rel=0.02)


def test_a_pace_that_lasts_is_no_danger_and_too_few_entries_say_nothing() -> None:
    slow = [("a", NOON - minute * HOUR // 60, 1 / 60) for minute in range(60)]
    line = found(ALL, spent(*reversed(slow)))["experiment a"]
    assert line.chance == pytest.approx(0.0, abs=1e-6)
    assert line.gone_in_h == ()
    assert found(ALL, spent(("a", NOON, 1)))["experiment a"].chance is None


def test_what_is_kept_is_bounded() -> None:
    spendings = Spendings()
    for hour in range(5 * LONGEST_H):
        spendings.hear("a", hour * HOUR, Spend(1, 0))
    assert len(spendings.hours["a"]) <= 2 * LONGEST_H + 1


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{programme: {limit: 0, period: 24h}}", "spec.budgets.programme.limit"),
        ("{programme: {limit: 1, period: 90m}}", "spec.budgets.programme.period"),
        ("{perTeam: {limit: 1, period: 93d}}", "spec.budgets.perTeam.period"),
        ("{teams: {shop: {limit: 1}}}", "spec.budgets.teams.shop.period"),
        ("{everybody: {limit: 1, period: 24h}}", "spec.budgets.everybody"),
    ],
)
def test_a_budget_that_cannot_be_is_named(text: str, field: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        budgets(text)
    assert [fault.field for fault in refused.value.violations] == [field]
