"""Numbers, times and names as people read them: with their unit, in UTC, and no data never as 0."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC, datetime, timedelta

from stoploss.commands import Micros

NO_DATA = "no data"
NO_LIMIT = "no limit"
DIGITS = 4
SMALLEST_FIXED = 1e-9
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def number(value: float | None) -> str:
    """Four significant digits, never in powers of ten where digits will do.

    >>> number(12345.6), number(0.00012346), number(812.04), number(0.0), number(None)
    ('12,346', '0.0001235', '812', '0', 'no data')
    """
    if value is None or not math.isfinite(value):
        return NO_DATA
    if value == 0:
        return "0"
    if abs(value) < SMALLEST_FIXED:
        return f"{value:.{DIGITS}g}"
    decimals = max(0, DIGITS - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def quantity(value: float | None, unit: str) -> str:
    """A number with its unit.

    >>> quantity(812.3, "ms"), quantity(None, "ms")
    ('812.3 ms', 'no data')
    """
    text = number(value)
    return text if text == NO_DATA else f"{text} {unit}"


def share(value: float | None) -> str:
    """A share of 1 as percent.

    >>> share(0.05), share(0.0), share(None)
    ('5 %', '0 %', 'no data')
    """
    return quantity(None if value is None else 100 * value, "%")


def count(value: int | None) -> str:
    """
    >>> count(12345), count(None)
    ('12,345', 'no data')
    """
    return NO_DATA if value is None else f"{value:,}"


def signed(text: str) -> str:
    """A plus before what is above zero, so that a change reads as one.

    >>> signed("3.1 %"), signed("-2 %"), signed("0 %")
    ('+3.1 %', '-2 %', '0 %')
    """
    return text if text.startswith("-") or text.split(" ")[0] in ("0", "no") else f"+{text}"


def utc(at: datetime | None) -> str:
    """A time to the millisecond, with its zone.

    >>> utc(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC))
    '2026-01-02 03:04:05.678 UTC'
    """
    if at is None:
        return NO_DATA
    moment = at.astimezone(UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1_000:03d} UTC"


def moment(at: Micros) -> datetime:
    """
    >>> moment(1_700_000_000_000_001).isoformat()
    '2023-11-14T22:13:20.000001+00:00'
    """
    return EPOCH + timedelta(microseconds=at)


def duration(ms: float | None) -> str:
    """
    >>> duration(45.4), duration(1234.0), duration(90_000.0), duration(None)
    ('45 ms', '1.23 s', '90.00 s', 'no data')
    """
    if ms is None:
        return NO_DATA
    return f"{ms:,.0f} ms" if abs(ms) < 1_000 else f"{ms / 1_000:,.2f} s"


def elapsed(seconds: float | None) -> str:
    """How long something took, in its two largest units.

    >>> elapsed(45.2), elapsed(3 * 86_400 + 7_300), elapsed(None)
    ('45 s', '3 d 2 h', 'no data')
    """
    if seconds is None:
        return NO_DATA
    whole = round(seconds)
    parts: list[str] = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if whole >= size or (name == "s" and not parts):
            parts.append(f"{whole // size} {name}")
            whole %= size
    return " ".join(parts[:2])


def printable(text: str) -> str:
    """Text of a sender on one line, without the control characters that could move a terminal's cursor.

    >>> printable("a\\x1b[31mb\\nc\\x9b")
    'a?[31mb c?'
    """
    one_line = " ".join(text.split())
    return "".join("?" if unicodedata.category(letter) in ("Cc", "Cf", "Cs") else letter for letter in one_line)


def listed(names: tuple[str, ...] | list[str], none: str = "none") -> str:
    return ", ".join(names) if names else none
