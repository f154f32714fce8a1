"""A document as JSON-ready data: the same fields, times in UTC, no infinities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from typing import Any


def plain(value: Any) -> Any:
    """Dataclasses as objects by field, times as RFC 3339 in UTC; None is no data, as is a number that is not finite.

    >>> plain({"at": datetime(2026, 1, 2, tzinfo=UTC), "limits": (1.5, math.inf)})
    {'at': '2026-01-02T00:00:00.000000Z', 'limits': [1.5, None]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
