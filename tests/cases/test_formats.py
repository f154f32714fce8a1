"""X7: what each export holds, by the published schema of its format where there is one; see also test_libraries.py."""

from __future__ import annotations

import json
from typing import Any, get_args

import jsonschema
import pytest

from stoploss.cases.formats import FORMATS, exported, literal
from stoploss.followup import Format
from tests.cases.evidence import HOSTILE, OUTPUT, several
from tests.cases.published import OPENAI_LINE, PROMPTFOO_TESTS


def lines(form: Format) -> list[Any]:
    return [json.loads(line) for line in exported(several(), form).split("\n") if line]


def walked(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every plain value of a document by its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = {where: found for key, one in items for where, found in walked(one, (*path, str(key))).items()}
    return inner or {path: value}


def test_every_format_has_its_writer() -> None:
    assert tuple(FORMATS) == get_args(Format)


@pytest.mark.parametrize("form", FORMATS)
def test_a_failing_output_is_never_the_expected_one(form: Format) -> None:
    """It stands in one place, and that says what it is."""
    text = exported(several(), form)
    parts = json.loads(text) if form in ("promptfoo", "deepeval") else lines(form)
    places = {path[-1] for path, value in walked(parts).items() if isinstance(value, str) and OUTPUT in value}
    assert places == {"failing_output"}
    expected = [value for path, value in walked(parts).items() if path[-1] in ("expected", "expected_output", "ideal")]
    assert set(expected) <= {None}


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_cases_give_the_same_bytes(form: Format) -> None:
    assert exported(several(), form) == exported(several(), form)


@pytest.mark.parametrize("form", FORMATS)
def test_no_case_is_an_empty_file_of_the_format(form: Format) -> None:
    assert exported((), form).strip() in ("", "[]")


def test_jsonl_holds_all_that_is_known() -> None:
    found = lines("jsonl")
    assert [one["case_id"] for one in found] == [case.case_id for case in several()]
    assert found[1]["input"] == HOSTILE
    assert found[3]["links"][0]["segment"] == "tenant=acme"


def test_promptfoo_cases_are_as_the_published_schema_has_them() -> None:
    found = json.loads(exported(several(), "promptfoo"))
    jsonschema.validate(found, PROMPTFOO_TESTS)
    assert [one["metadata"]["case_id"] for one in found] == [case.case_id for case in several()]
    assert {one["assert"][0]["type"] for one in found} == {"llm-rubric"}


def test_a_field_that_promptfoo_does_not_know_would_be_noticed() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([{"case_id": "x"}], PROMPTFOO_TESTS)


def test_openai_lines_are_as_the_published_schema_has_them() -> None:
    for line in lines("openai"):
        jsonschema.validate(line, OPENAI_LINE)
        assert line["item"]["case_id"].startswith("case-")
        assert line["item"]["input"]


@pytest.mark.parametrize("text", [HOSTILE, "{{{%", "{{", "{{{{", "{#", "file://x", "package:y", "a{", "}}"])
def test_text_from_traffic_is_no_template_and_no_file_to_promptfoo(text: str) -> None:
    """Rendered as Nunjucks renders an expression of one string, it is the text again."""
    written = literal(text)
    assert not written.startswith(("file:", "package:"))
    rendered, at = "", 0
    while (begin := written.find("{{", at)) >= 0:
        end = written.index("}}", begin)
        expression = written[begin + 2 : end].strip()
        assert expression.startswith('"')
        assert expression.endswith('"')
        rendered += written[at:begin] + expression[1:-1]
        at = end + 2
    rest = written[at:]
    assert "{%" not in rest
    assert "{#" not in rest
    assert rendered + rest == text
