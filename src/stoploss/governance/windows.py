"""Hours of some weekdays, and dated days, in a time zone: whether a moment of ledger time lies in them.

Time zones are those of the pinned package tzdata, never the machine's: a replay elsewhere must come to the same answer.
"""

from __future__ import annotations

import importlib.resources
import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from stoploss.commands import Micros

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}")


def fault(days: str, begins: str, ends: str, timezone: str) -> str | None:
    """What is wrong with a window, or None.

    >>> fault("Mon-Fri", "09:00", "17:00", "Europe/Berlin")
    >>> fault("Mon-Fri", "9", "17:00", "UTC")
    "'9' is no time of day; write it as HH:MM"
    """
    try:
        weekdays(days)
        zone(timezone)
    except ValueError as error:
        return str(error)
    wrong = next((value for value in (begins, ends) if not TIME_OF_DAY.fullmatch(value)), None)
    return None if wrong is None else f"{wrong!r} is no time of day; write it as HH:MM"


def freeze_fault(first: date, last: date, timezone: str) -> str | None:
    """What is wrong with days on which nothing is raised, or None.

    >>> freeze_fault(date(2026, 12, 24), date(2026, 12, 20), "UTC")
    'it ends on 2026-12-20, before it begins on 2026-12-24; swap the two'
    """
    try:
        zone(timezone)
    except ValueError as error:
        return str(error)
    return f"it ends on {last}, before it begins on {first}; swap the two" if last < first else None


def inside(days: str, begins: str, ends: str, timezone: str, at: Micros) -> bool:
    """Whether a moment lies in the window; one that ends before it begins goes over midnight.

    >>> noon = 1_700_000_000_000_000  # Tuesday, 2023-11-14 22:13:20 UTC
    >>> inside("Mon-Fri", "09:00", "17:00", "America/Los_Angeles", noon)
    True
    >>> inside("Mon-Fri", "22:00", "06:00", "UTC", noon), inside("Mon", "22:00", "06:00", "UTC", noon)
    (True, False)
    """
    local = _local(timezone, at)
    clock, listed = local.strftime("%H:%M"), weekdays(days)
    today, yesterday = local.weekday() in listed, (local.weekday() - 1) % 7 in listed
    if begins < ends:
        return today and begins <= clock < ends
    return (today and clock >= begins) or (yesterday and clock < ends)


def on_days(first: date, last: date, timezone: str, at: Micros) -> bool:
    """Whether a moment lies on one of the days from the first to the last.

    >>> at = 1_700_000_000_000_000  # Tuesday, 2023-11-14 22:13:20 UTC
    >>> on_days(date(2023, 11, 15), date(2023, 11, 16), "Europe/Kyiv", at)
    True
    """
    return first <= _local(timezone, at).date() <= last


def _local(timezone: str, at: Micros) -> datetime:
    return (_EPOCH + timedelta(microseconds=at)).astimezone(zone(timezone))


@lru_cache(maxsize=256)
def weekdays(text: str) -> frozenset[int]:
    """Mon-Fri, or Mon,Wed,Fri, as numbers from Monday, 0; raises ValueError elsewhere.

    >>> sorted(weekdays("Fri-Mon"))
    [0, 4, 5, 6]
    """
    found: set[int] = set()
    for part in (part.strip() for part in text.split(",")):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"{text!r} are no days; write Mon-Fri, or Mon,Wed,Fri")
        begin, span = DAYS.index(first), (DAYS.index(last or first) - DAYS.index(first)) % 7
        found |= {(begin + step) % 7 for step in range(span + 1)}
    return frozenset(found)


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """A zone of the package tzdata; raises ValueError where it has none of that name."""
    *folders, last = name.split("/")
    try:
        if not _ZONE.fullmatch(name):
            raise FileNotFoundError(name)
        package = ".".join(["tzdata", "zoneinfo", *folders])
        with (importlib.resources.files(package) / last).open("rb") as file:
            return ZoneInfo.from_file(file, key=name)
    except (OSError, ModuleNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is no time zone; write one as Europe/Berlin, or UTC") from error
