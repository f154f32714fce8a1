"""The JSON Schema of a spec, for editors and for checks before a commit: `python -m stoploss.spec.schema > FILE`.

It says what is well-formed, and what each field is. What a well-formed spec must also satisfy (checks.py) no schema can
say.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from pydantic.alias_generators import to_camel

from stoploss.experiment import Experiment
from stoploss.spec.descriptions import DESCRIPTIONS

_LISTED = re.compile(r"([a-z_]+(?:, [a-z_]+)*)(?: {2,}|: )(\S.*)")


def schema_text() -> str:
    return json.dumps(schema(), indent=2) + "\n"


def schema() -> dict[str, Any]:
    """With a description for each field that has one."""
    found: dict[str, Any] = Experiment.model_json_schema(by_alias=True)
    for name, model in {"Experiment": found, **found["$defs"]}.items():
        about, fields = read_docstring(model.get("description", ""))
        texts = {**fields, **DESCRIPTIONS.get(name, {})}
        for field, part in model["properties"].items():
            if field in texts:
                part["description"] = texts[field]
        model.pop("description", None)
        if about:
            model["description"] = about
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """What a model's docstring says of the whole, and of its fields by their name in YAML.

    >>> read_docstring("A part.\\n\\nmin_units  how many\\n           there are\\nfrom, to   both ends")
    ('A part.', {'minUnits': 'how many there are', 'from': 'both ends', 'to': 'both ends'})
    """
    about: list[str] = []
    fields: dict[str, str] = {}
    for line in _unbroken(text):
        if found := _LISTED.fullmatch(line):
            fields |= {to_camel(name.rstrip("_")): found[2].rstrip(".") for name in found[1].split(", ")}
        elif line:
            about.append(line)
    return " ".join(about), fields


def _unbroken(text: str) -> Iterator[str]:
    """Lines, each with those that are indented below it."""
    line = ""
    for part in text.splitlines():
        if part.startswith(" ") and line:
            line += f" {part.strip()}"
        else:
            yield line
            line = part.strip()
    yield line


if __name__ == "__main__":
    sys.stdout.write(schema_text())
