"""What people read never lies about what is not known, and cannot move their cursor."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from stoploss.review import words


@pytest.mark.parametrize("text_of", [words.number, words.share, words.duration, words.count, words.utc])
def test_no_data_is_never_shown_as_zero(text_of: object) -> None:
    assert text_of(None) == "no data"  # type: ignore[operator]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_data(value: float) -> None:
    assert words.quantity(value, "ms") == "no data"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1e9, "1,000,000,000"), (-1234.5, "-1,234"), (0.05, "0.05"), (9.9999999, "10"), (3e-12, "3e-12")],
)
def test_numbers_keep_four_digits_and_read_as_people_write_them(value: float, text: str) -> None:
    assert words.number(value) == text


def test_a_time_of_any_zone_is_shown_in_utc_and_says_so() -> None:
    berlin = datetime(2026, 1, 2, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert words.utc(berlin) == "2026-01-01 23:30:00.000 UTC"
    assert words.utc(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01 00:00:00.000 UTC"


def test_no_control_character_of_a_sender_reaches_a_terminal() -> None:
    hostile = "".join(map(chr, range(0xA0))) + "\u202e\u2066\u200b"
    shown = words.printable(hostile)
    assert not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in shown)
    assert "\u202e" not in shown
