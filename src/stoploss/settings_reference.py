"""Every setting with its default and its meaning, as the code has them: for `init` and for docs/settings.md."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from stoploss.settings import Settings, variable

_LINE = re.compile(r"^    ([a-z_]+)\s{1,}(\S.*)$|^\s{23}(\S.*)$")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    default  as one would write it in the environment; empty: unset
    meaning  from the docstring of Settings
    """

    name: str
    default: str
    meaning: str

    @property
    def variable(self) -> str:
        return variable(self.name)


def every_setting() -> list[Setting]:
    """In the order of the code."""
    meanings = _meanings(Settings.__doc__ or "")
    return [Setting(name, _default(name), meanings[name]) for name in Settings.model_fields]


def _meanings(doc: str) -> dict[str, str]:
    """
    >>> _meanings("Where.\\n\\n    kafka   servers;\\n" + 23 * " " + "or none\\n    home   keys")
    {'kafka': 'servers; or none', 'home': 'keys'}
    """
    found: dict[str, str] = {}
    last = ""
    for match in filter(None, map(_LINE.match, doc.splitlines())):
        name, meaning, more = match.groups()
        if name:
            last, found[name] = name, meaning
        else:
            found[last] += f" {more}"
    return found


def _default(name: str) -> str:
    default: Any = Settings.model_fields[name].get_default(call_default_factory=True)
    return "" if default is PydanticUndefined else written(default)


def written(value: Any) -> str:
    """As the environment has it.

    >>> written(None), written(False), written({}), written(16)
    ('', 'false', '{}', '16')
    """
    if value is None:
        return ""
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def markdown() -> str:
    """The table of docs/settings.md."""
    rows = [
        f"| `{one.variable}` | {f'`{one.default}`' if one.default else ''} | {one.meaning} |" for one in every_setting()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows]) + "\n"


def file_text(chosen: Mapping[str, str]) -> str:
    """A file of settings with all of them, commented out but for those chosen."""
    parts = [
        "# Settings of stoploss, with their defaults. What `--set` and the environment say wins over this file.",
        *(_entry(one, chosen.get(one.name)) for one in every_setting()),
    ]
    return "\n\n".join(parts) + "\n"


def _entry(one: Setting, chosen: str | None) -> str:
    line = f"# {one.variable}={one.default}" if chosen is None else f"{one.variable}={chosen}"
    return f"# {one.meaning}\n{line}"


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201 - the table for docs/settings.md
