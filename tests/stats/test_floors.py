from __future__ import annotations

import math

import pytest

from stoploss.stats.errors import StatisticsInputError
from stoploss.stats.floors import (
    breach_event_floor,
    continuous_floors,
    first_unmet,
    groups_floor,
    safe_event_floor,
    spread_floor,
)


def test_the_smaller_arm_is_named_with_what_it_lacks() -> None:
    floor = first_unmet(continuous_floors(n_eff=80.0, units_control=9_000, units_treatment=199, alpha=0.01))
    assert floor is not None
    assert (floor.what, floor.observed, floor.required) == ("units in the treatment arm", 199, 200)


def test_a_budget_below_one_in_a_hundred_asks_for_500_units() -> None:
    def unmet(alpha: float, units: int) -> bool:
        return (
            first_unmet(continuous_floors(n_eff=80.0, units_control=units, units_treatment=units, alpha=alpha))
            is not None
        )

    assert [unmet(0.01, 200), unmet(0.0099, 200), unmet(0.0099, 499), unmet(0.0099, 500)] == [False, True, True, False]


def test_many_units_in_few_groups_are_not_enough() -> None:
    floor = first_unmet(continuous_floors(n_eff=31.9, units_control=10**6, units_treatment=10**6, alpha=0.05))
    assert floor == groups_floor(31.9)


def test_a_difference_that_a_handful_of_groups_carries_is_not_enough() -> None:
    assert not spread_floor(23.9, 256.0).met
    assert spread_floor(24.0, 256.0).met


def test_few_groups_are_held_to_a_quarter_of_them_which_normal_data_have() -> None:
    """Normal influences have a spread of a third of their groups: 21 where a segment has 64."""
    assert spread_floor(64 / 3, 64.0).met
    assert not spread_floor(15.9, 64.0).met


def test_a_breach_of_a_rare_event_needs_events_in_treatment_alone() -> None:
    assert breach_event_floor(event_units_treatment=30, alpha=0.01).met
    assert not breach_event_floor(event_units_treatment=39, alpha=0.005).met


def test_safety_from_a_rare_event_needs_events_that_would_have_shown() -> None:
    def met(treatment: int, events: int) -> bool:
        return safe_event_floor(
            units_treatment=treatment, units_control=9_000, event_units_control=events, alpha=0.01
        ).met

    assert met(1_000, 270)
    assert not met(1_000, 269)
    assert not met(10**6, 0)


def test_safety_without_any_control_is_not_met() -> None:
    floor = safe_event_floor(units_treatment=5_000, units_control=0, event_units_control=0, alpha=0.01)
    assert not floor.met


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(
        StatisticsInputError, match="event_units_control is 11; it must lie between 0 and units_control"
    ):
        safe_event_floor(units_treatment=10, units_control=10, event_units_control=11, alpha=0.01)
    with pytest.raises(StatisticsInputError, match="units_treatment is -1"):
        continuous_floors(n_eff=40.0, units_control=1, units_treatment=-1, alpha=0.01)
    with pytest.raises(StatisticsInputError, match="alpha is nan"):
        breach_event_floor(event_units_treatment=1, alpha=math.nan)
