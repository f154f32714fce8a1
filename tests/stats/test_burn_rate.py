from __future__ import annotations

import math

import pytest

from stoploss.stats.burn_rate import burn_of_bad, burn_of_spend, threshold, windows
from stoploss.stats.errors import StatisticsInputError

from .oracle_cases import case, near

HOUR = 3_600
ORACLE = case("burn_rate")


def test_the_thresholds_are_those_of_the_workbook() -> None:
    period_h = ORACLE["inputs"]["period_h"]
    found = [threshold(f, hours * HOUR, period_h * HOUR) for hours, f in ORACLE["inputs"]["rows_window_h_fraction"]]
    assert found == near("burn_rate", ORACLE["expected"]["thresholds"])


def test_the_windows_are_those_of_the_workbook() -> None:
    found = [windows(burn, 720 * HOUR) for burn in (14.4, 6, 1)]
    assert [w.long_s / HOUR for w in found] == pytest.approx([1, 6, 72])
    assert [w.short_s / HOUR for w in found] == pytest.approx([1 / 12, 0.5, 6])


def test_a_shorter_period_has_shorter_windows() -> None:
    assert windows(6, 24 * HOUR).long_s == pytest.approx(720)


def test_the_burn_of_money_is_the_one_computed_by_hand() -> None:
    money, expected = ORACLE["inputs"]["money"], ORACLE["expected"]

    def burn(spend: float, hours: float) -> float:
        return burn_of_spend(spend, hours * HOUR, money["budget"], money["period_h"] * HOUR)

    assert burn(money["spend_last_1h"], 1) == near("burn_rate", expected["burn_1h"])
    assert burn(money["spend_last_5min"], 1 / 12) == near("burn_rate", expected["burn_5min"])
    assert burn(money["spent_so_far"], money["elapsed_h"]) == near("burn_rate", expected["burn_whole_period"])
    fires = all(burn(*window) >= expected["thresholds"][0] for window in ((65.0, 1), (6.1, 1 / 12)))
    assert fires == expected["page_1h_and_5min"]


def test_nano_dollars_beyond_53_bits_are_rounded_once() -> None:
    assert burn_of_spend(10**17 + 1, HOUR, 10**17 + 1, HOUR) == 1.0


def test_an_idle_window_burns_nothing_of_money_and_says_nothing_of_quality() -> None:
    assert burn_of_spend(0, HOUR, 500, 24 * HOUR) == 0.0
    assert burn_of_bad(0, 0, 0.99) is None


def test_exactly_the_tolerated_share_burns_at_one() -> None:
    assert burn_of_bad(10, 1_000, 0.99) == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [-1, 11])
def test_more_bad_events_than_events_are_refused(bad: int) -> None:
    with pytest.raises(StatisticsInputError, match=f"bad is {bad}"):
        burn_of_bad(bad, 10, 0.99)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_or_span_that_is_not_positive_is_refused(value: float) -> None:
    with pytest.raises(StatisticsInputError, match=f"budget is {value!r}"):
        burn_of_spend(1, HOUR, value, HOUR)
    with pytest.raises(StatisticsInputError, match=f"window_s is {value!r}"):
        burn_of_spend(1, value, 1, HOUR)
    with pytest.raises(StatisticsInputError, match=f"burn is {value!r}"):
        windows(value, HOUR)


def test_spending_that_is_no_amount_is_refused() -> None:
    with pytest.raises(StatisticsInputError, match="spend is nan"):
        burn_of_spend(math.nan, HOUR, 1, HOUR)
    with pytest.raises(StatisticsInputError, match=r"fraction is 1\.5"):
        threshold(1.5, HOUR, HOUR)
