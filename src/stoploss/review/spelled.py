"""A part of a spec as its YAML in one line: for what a verdict rests on and people rarely ask about."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def spelled(part: Any) -> str:
    """As in the spec, defaults included; times are in seconds.

    >>> spelled({"after": 30, "do": "pause"}), spelled([["a", "b"]]), spelled(0.25)
    ('{after: 30, do: pause}', '[[a, b]]', '0.25')
    """
    match part:
        case BaseModel():
            return spelled(part.model_dump(mode="json", by_alias=True, exclude_none=True))
        case dict():
            return f"{{{', '.join(f'{name}: {spelled(value)}' for name, value in part.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(spelled, part))}]"
        case bool():
            return str(part).lower()
        case float():
            return f"{part:.15g}"
        case _:
            return str(part)
