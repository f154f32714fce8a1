"""docs/experiment.md: every field of a spec with its default, as the code has it."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from stoploss.spec import reference, schema
from stoploss.spec.descriptions import DESCRIPTIONS
from stoploss.spec.file import parse_experiment

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "experiment.md"
MODELS = {"Experiment": schema.schema(), **schema.schema()["$defs"]}


def test_the_document_is_what_the_code_says() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == reference.rewritten(text), "the spec has changed: run `make schemas`"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_field_says_what_it_is(name: str) -> None:
    silent = [field for field, part in MODELS[name]["properties"].items() if not part.get("description")]
    assert silent == [], f"say it in the docstring of {name} (`field   text`), or in spec/descriptions.py"


def test_nothing_is_described_that_is_no_field() -> None:
    unknown = {
        f"{name}.{field}"
        for name, fields in DESCRIPTIONS.items()
        for field in fields
        if field not in MODELS.get(name, {}).get("properties", {})
    }
    assert unknown == set()


def test_each_field_of_the_examples_is_in_the_tables() -> None:
    """What a reader finds in an example stands in the reference, with its default."""
    text = DOCUMENT.read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    examples = re.findall(r"\]\(\.\./(examples/[\w/-]+\.yaml)\)", text)
    assert len(examples) == 6
    for example in examples:
        given = (ROOT / example).read_text(encoding="utf-8")
        parse_experiment(given)
        assert set(re.findall(r"\b([a-z]+[A-Za-z]*): ", re.sub(r"#.*", "", given))) - named <= {"risk", "runbook"} | {
            "better",
            "same",
            "worse",
            "delta",
        }


def test_a_document_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no part from"):
        reference.rewritten("# The experiment file\n")


@pytest.mark.parametrize("module", [reference, schema], ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module: object) -> None:
    outcome = doctest.testmod(module)  # type: ignore[arg-type]
    assert (outcome.attempted > 0, outcome.failed) == (True, 0)
