"""Times as CloudEvents and Alertmanager write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stoploss.commands import Micros

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(at: Micros) -> str:
    """A time in UTC with all six digits of its microseconds.

    >>> rfc3339(1_700_000_000_000_001)
    '2023-11-14T22:13:20.000001Z'
    """
    return (EPOCH + timedelta(microseconds=at)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
