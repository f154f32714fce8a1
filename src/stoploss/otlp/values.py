"""Values of attributes as fields: whatever a service sends under a name, it becomes the field's type or is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Held = tuple[str, int, Any]
"""field, rank of the name that it came under (the lowest counts), value"""

Values = Mapping[str, Held]
"""By field."""

LARGEST_COUNT = 1 << 40


def text(values: Values, field: str) -> str | None:
    """A text that is not empty; numbers and truth values in words, since ids are often numbers."""
    held = values.get(field)
    if held is None:
        return None
    value = held[2]
    if type(value) is str:
        return value or None
    if type(value) is bool:
        return "true" if value else "false"
    return str(value) if type(value) in (int, float) else None


def count(values: Values, field: str) -> int | None:
    """A whole number from 0 on; some SDKs send 12.0 or "12".

    >>> count({"input_tokens": ("input_tokens", 0, "12")}, "input_tokens")
    12
    """
    held = values.get(field)
    if held is None:
        return None
    value = held[2]
    if type(value) is int:
        return value if 0 <= value < LARGEST_COUNT else None
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 14:
        value = int(value)
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < LARGEST_COUNT else None


def number(values: Values, field: str) -> float | None:
    """A finite number."""
    held = values.get(field)
    if held is None or type(held[2]) not in (int, float):
        return None
    value = float(held[2])
    return value if math.isfinite(value) else None


def truth(values: Values, field: str) -> bool | None:
    held = values.get(field)
    if held is None:
        return None
    value = held[2]
    if type(value) is str and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return value if type(value) is bool else None


def last_text(values: Values, field: str) -> str | None:
    """The last text of a list, or the text itself: finish reasons come either way."""
    held = values.get(field)
    value = held[2] if held is not None else None
    if isinstance(value, list) and value:
        value = value[-1]
    return value if isinstance(value, str) and value else None
