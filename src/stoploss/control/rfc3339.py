"""Times as CloudEvents and Alertmanager write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stoploss.commands import Micros

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Years 1 to 9999, which are all that there are to `datetime`; a signed command may name any number."""


def rfc3339(at: Micros) -> str:
    """A time in UTC with all six digits of its microseconds.

    >>> rfc3339(1_700_000_000_000_001)
    '2023-11-14T22:13:20.000001Z'
    """
    moment = EPOCH + timedelta(microseconds=min(max(at, EARLIEST), LATEST))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
