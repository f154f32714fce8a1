"""Windows: hours of weekdays in a time zone of the pinned tzdata."""

from __future__ import annotations

from datetime import datetime

import pytest

from stoploss.governance.windows import fault, inside


def micros(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-27T08:00:00+00:00", True),  # Friday, 09:00 in Berlin, before the clocks change
        ("2026-03-27T07:59:59+00:00", False),
        ("2026-03-30T07:00:00+00:00", True),  # Monday, 09:00 in Berlin, after they have
        ("2026-03-30T15:00:00+00:00", False),  # 17:00: the end is outside
        ("2026-03-29T10:00:00+00:00", False),  # Sunday
    ],
)
def test_a_window_follows_the_clocks_of_its_zone(at: str, expected: bool) -> None:
    assert inside("Mon-Fri", "09:00", "17:00", "Europe/Berlin", micros(at)) is expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-27T23:00:00+00:00", True),
        ("2026-03-28T05:59:00+00:00", True),  # Saturday morning belongs to Friday night
        ("2026-03-28T22:00:00+00:00", False),
        ("2026-03-30T05:00:00+00:00", False),  # Monday morning belongs to Sunday
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(at: str, expected: bool) -> None:
    assert inside("Mon-Fri", "22:00", "06:00", "UTC", micros(at)) is expected


@pytest.mark.parametrize(
    ("window", "why"),
    [
        (("Monday", "09:00", "17:00", "UTC"), "are no days"),
        (("", "09:00", "17:00", "UTC"), "are no days"),
        (("Mon-Fri", "09:00", "24:00", "UTC"), "'24:00' is no time of day"),
        (("Mon-Fri", "09:00", "17:00", "Berlin"), "'Berlin' is no time zone"),
        (("Mon-Fri", "09:00", "17:00", "../../etc/passwd"), "is no time zone"),
        (("Mon-Fri", "09:00", "17:00", "Europe"), "is no time zone"),
        (("Mon-Fri", "09:00", "17:00", "zone.tab"), "is no time zone"),
    ],
)
def test_what_is_no_window_is_told(window: tuple[str, str, str, str], why: str) -> None:
    assert why in (fault(*window) or "")
