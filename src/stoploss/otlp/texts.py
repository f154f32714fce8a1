"""What a model was told and what it said, where a service records it; masked before it leaves this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from stoploss.emit.masking import mask_text
from stoploss.otlp.values import Values, text

LONGEST_CHARS = 64 * 1024
MOST_PARTS = 1_000


OUTPUTS = frozenset({"output_text", "output_messages", "output_value"})
INPUTS = frozenset({"input_text", "input_messages", "input_value"})


def output_text(values: Values) -> str | None:
    """The last message that the model wrote."""
    if OUTPUTS.isdisjoint(values):
        return None
    return _masked(text(values, "output_text") or _message(values, "output_messages") or text(values, "output_value"))


def input_text(values: Values) -> str | None:
    """The last message that it was given."""
    if INPUTS.isdisjoint(values):
        return None
    return _masked(text(values, "input_text") or _message(values, "input_messages") or text(values, "input_value"))


def _masked(said: str | None) -> str | None:
    return None if said is None else mask_text(said[:LONGEST_CHARS])


def _message(values: Values, field: str) -> str | None:
    """Texts of the last message: {"role": …, "parts": [{"type": "text", "content": …}]}, structured or as JSON."""
    held = values.get(field)
    if held is None:
        return None
    messages = _parsed(held[2])
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return None
    return "\n".join(_parts(messages[-1])) or None


def _parts(message: dict[str, Any]) -> Iterator[str]:
    """Before the parts, messages had a content."""
    parts = message.get("parts", message.get("content"))
    if isinstance(parts, str):
        yield parts
    for part in parts[:MOST_PARTS] if isinstance(parts, list) else ():
        said = part.get("content") if isinstance(part, dict) and part.get("type") == "text" else None
        if isinstance(said, str):
            yield said


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None  # a service may write what it likes here
