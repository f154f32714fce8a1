"""Text with places in it: `${name}`, `${table.name}`, and `$$` for a dollar sign. That is the whole language.

It looks up names that it was given and does nothing else: no attributes, no calls, no conditions, no code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from stoploss.errors import CommandRefused

_PLACE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}|(?P<wrong>\{[^}]*\}?|.?))")
Scalar = str | int | float | bool
Value = Scalar | list[dict[str, str]]
Names = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """`${variations.flag.treatment_variant}` is the path ("variations", "flag", "treatment_variant")."""

    path: tuple[str, ...]

    def __str__(self) -> str:
        return "${" + ".".join(self.path) + "}"


@dataclass(frozen=True, slots=True)
class Template:
    parts: tuple[str | Place, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(part for part in self.parts if isinstance(part, Place))

    def text(self, names: Names, escape: Callable[[str], str] = str) -> str:
        """With every place filled in, each through `escape`; raises CommandRefused for what is no text."""
        return "".join(part if isinstance(part, str) else escape(as_text(part, names)) for part in self.parts)

    def value(self, names: Names) -> Any:
        """As `text`, but one place alone keeps its type: a number stays a number."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Place):
            return look_up(self.parts[0], names)
        return self.text(names)


@cache
def template(text: str) -> Template:
    """The template of a text; raises ValueError with the way out.

    >>> template("costs $$${price}").parts
    ('costs ', '$', Place(path=('price',)))
    """
    parts: list[str | Place] = []
    end = 0
    for match in _PLACE.finditer(text):
        if match["wrong"] is not None:
            raise ValueError(f"{match[0]!r} is no place; write ${{name}} or ${{table.name}}, and $$ for a dollar sign")
        parts += [text[end : match.start()], "$" if match["dollar"] else Place(tuple(match["name"].split(".")))]
        end = match.end()
    return Template(tuple(part for part in (*parts, text[end:]) if part != ""))


def look_up(place: Place, names: Names) -> Any:
    """What stands for a place: a name's value, or a table's at the values of the names behind it.

    >>> look_up(Place(("ids", "flag", "arm")), {"flag": "f", "arm": "small", "ids": {"f": {"small": "id-1"}}})
    'id-1'
    """
    found = names[place.path[0]]
    for name in place.path[1:]:
        key = str(names[name])
        if not isinstance(found, Mapping) or key not in found:
            known = ", ".join(found) if isinstance(found, Mapping) else "nothing"
            raise CommandRefused(f"{place}: there is nothing for {name} {key!r}; known: {known}; add it to the table")
        found = found[key]
    return found


def as_text(place: Place, names: Names) -> str:
    found = look_up(place, names)
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, str | int | float):
        return str(found)
    raise CommandRefused(f"{place} is no text and no number; it can only be a value of its own in a body")
