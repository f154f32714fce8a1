"""Every field of a spec as Markdown, from its published schema: `python -m stoploss.spec.reference` writes it anew.

The part of docs/experiment.md between its marks is what this gives; tests/spec/test_reference.py holds the two
together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stoploss.spec.base import UNITS
from stoploss.spec.schema import schema

BEGIN, END = "<!-- fields -->", "<!-- end -->"
REQUIRED = "required"
Schema = Mapping[str, Any]


def reference() -> str:
    """A heading and a table for each part, in the order of the file."""
    whole = schema()
    return "\n".join(_part("", whole, whole["$defs"]))


def _part(path: str, model: Schema, parts: Schema) -> Iterator[str]:
    """The fields of a model, then those of the models that it is made of."""
    yield f"## `{path}`" if path else "## The file"
    yield ""
    if path and "description" in model:
        yield f"{model['description']}"
        yield ""
    yield "| field | what may stand there | default | what it is |"
    yield "|---|---|---|---|"
    for name, field in model["properties"].items():
        default = REQUIRED if name in model.get("required", ()) else _default(field)
        yield f"| `{name}` | {_kind(field)} | {default} | {_cell(field.get('description', ''))} |"
    yield ""
    for name, field in model["properties"].items():
        for inner, of_list in _models(field):
            yield from _part(f"{path}.{name}".lstrip(".") + ("[]" if of_list else ""), parts[inner], parts)


def _models(field: Schema, of_list: bool = False) -> Iterator[tuple[str, bool]]:
    """Names of the models that a field is made of, and whether it is a list of them."""
    if "$ref" in field:
        yield field["$ref"].rpartition("/")[2], of_list
    for choice in field.get("anyOf", ()):
        yield from _models(choice, of_list)
    if "items" in field:
        yield from _models(field["items"], True)


def _kind(field: Schema) -> str:
    """
    >>> _kind({"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}})
    'list of number, 0 to 1'
    >>> _kind({"enum": ["hold", "off", False]}), _kind({"anyOf": [{"type": "string"}, {"type": "null"}]})
    ('`hold`, `off`', 'text')
    """
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"] if isinstance(one, str))
    if "const" in field:
        return f"`{field['const']}`"
    if "$ref" in field:
        return "a part, see below"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_kind(one) for one in field["anyOf"] if one.get("type") != "null"))
    return _plain(field)


def _plain(field: Schema) -> str:
    match field.get("type"):
        case "array" if "prefixItems" in field:
            return "pair of texts"
        case "array":
            return "parts, see below" if "$ref" in field["items"] else f"list of {_kind(field['items'])}"
        case "object":
            keys = field.get("propertyNames", {}).get("enum")
            of = f" by {', '.join(keys)}" if keys else " by name"
            return f"{_kind(field['additionalProperties'])}{of}"
        case "string" if "pattern" in field:
            return "duration, such as 90s, 2m, 24h, 30d"
        case "string":
            return "day, such as 2026-03-01" if field.get("format") == "date" else "text"
        case "boolean":
            return "`true`, `false`"
        case "integer" if "exclusiveMinimum" in field and "maximum" not in field:
            return "seconds"
        case kind:
            return f"{'whole number' if kind == 'integer' else 'number'}{_range(field)}"


def _range(field: Schema) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f", {low:g} to {high:g}"
    if above is not None and below is not None:
        return f", between {above:g} and {below:g}"
    return f", from {low:g}" if low is not None else f", above {above:g}" if above is not None else ""


def _default(field: Schema) -> str:
    """Of a part, each of its fields has its own."""
    value = field.get("default")
    if "default" not in field or value in (None, [], {}, "") or "$ref" in field:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and "duration" in _kind(field):
        return f"`{_duration(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _duration(seconds: int) -> str:
    """
    >>> _duration(7_776_000), _duration(90)
    ('90d', '90s')
    """
    return next(f"{seconds // size}{unit}" for unit, size in reversed(UNITS.items()) if seconds % size == 0)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def rewritten(document: str) -> str:
    """The document with its fields as they are; raises ValueError where it has no marks."""
    head, _, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise ValueError(f"the document has no part from {BEGIN} to {END}")
    return f"{head}{BEGIN}\n{reference()}\n{END}{tail}"


if __name__ == "__main__":
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/experiment.md")
    file.write_text(rewritten(file.read_text(encoding="utf-8")), encoding="utf-8")
