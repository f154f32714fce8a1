"""The JSON Schema of a spec: what editors know of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from stoploss.spec.schema import schema_text
from tests.timelines import EVERY_RULE, spec

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "schemas" / "experiment.schema.json"
EXAMPLES = sorted(ROOT.glob("examples/**/*.yaml"))


def faults(document: Any) -> list[str]:
    """Where the document does not fit, alternatives included."""
    errors = Draft202012Validator(json.loads(PUBLISHED.read_text())).iter_errors(document)
    return [path for error in errors for path in paths_of(error)]


def paths_of(error: ValidationError) -> Iterator[str]:
    yield error.json_path
    for part in error.context or ():
        yield from paths_of(part)


def test_what_is_published_is_what_the_code_reads() -> None:
    assert PUBLISHED.read_text() == schema_text(), "the spec has changed: run `make schemas`"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_fits_it(path: Path) -> None:
    assert faults(yaml.safe_load(path.read_text())) == []


def test_a_spec_with_every_rule_fits_it() -> None:
    assert faults(yaml.safe_load(spec(EVERY_RULE))) == []


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ("after: 2m", "after: two minutes", "$.spec.health.silence.after"),
        ("unit: model", "unit: weather", "$.spec.unit"),
        ("hypothesis:", "hypotesis:", "$.spec"),
        ("gates: [undeclared_tool]", "gates: [{gat: undeclared_tool}]", "$.spec.gates[0]"),
    ],
)
def test_a_slip_is_found_where_it_is(before: str, after: str, where: str) -> None:
    text = spec(EVERY_RULE)
    assert before in text
    assert where in faults(yaml.safe_load(text.replace(before, after)))
