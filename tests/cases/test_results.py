"""X7: offline results come back in the formats that the cases went out in."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import jsonschema
import pytest

from stoploss.cases.results import READERS, Results, ResultsUnreadable, read_results
from stoploss.followup import Format
from tests.cases.published import OPENAI_OUTPUT_ITEM

GOOD, BAD, OPEN = (f"case-{digit * 16}" for digit in "012")


def promptfoo(case: str, *, success: bool, failure: int = 0) -> dict[str, Any]:
    provider, test = {"id": "openai:small-2"}, {"vars": {"input": "x"}, "metadata": {"case_id": case}}
    return {"success": success, "failureReason": failure, "provider": provider, "testCase": test}


def output_item(case: str, status: str) -> dict[str, Any]:
    return {
        "object": "eval.run.output_item",
        "id": f"outputitem_{case}",
        "run_id": "evalrun_1",
        "eval_id": "eval_1",
        "created_at": 1_700_000_000,
        "status": status,
        "datasource_item_id": 1,
        "datasource_item": {"case_id": case, "input": "x"},
        "results": [{"name": "rubric", "passed": status == "pass", "score": 1.0}],
        "sample": {"model": "small-2"},
    }


def inspect_sample(case: str, *values: object, error: object = None) -> dict[str, Any]:
    return {"id": case, "epoch": 1, "scores": {str(n): {"value": v} for n, v in enumerate(values)}, "error": error}


ITEMS = [output_item(GOOD, "pass"), output_item(BAD, "fail"), output_item(OPEN, "error")]
FILES: dict[str, tuple[Format, Any, str | None]] = {
    "jsonl": ("jsonl", [{"case_id": GOOD, "passed": True}, {"case_id": BAD, "passed": False}], None),
    "inspect": (
        "inspect",
        {
            "eval": {"model": "small-2"},
            "samples": [inspect_sample(GOOD, "C", 1.0), inspect_sample(BAD, "C", "I"), inspect_sample(OPEN, error={})],
        },
        "small-2",
    ),
    "promptfoo": (
        "promptfoo",
        {
            "results": {
                "version": 3,
                "results": [
                    promptfoo(GOOD, success=True),
                    promptfoo(BAD, success=False, failure=1),
                    promptfoo(OPEN, success=False, failure=2),
                ],
            }
        },
        "openai:small-2",
    ),
    "deepeval": (
        "deepeval",
        {
            "hyperparameters": {"model": "small-2"},
            "testCases": [
                {"name": "test_case_0", "success": True, "metadata": {"case_id": GOOD}},
                {"name": BAD, "success": False, "additionalMetadata": None},
                {"name": OPEN, "success": None},
            ],
        },
        "small-2",
    ),
    "openai, a list": ("openai", ITEMS, "small-2"),
    "openai, the answer": ("openai", {"object": "list", "data": ITEMS}, "small-2"),
}


def bytes_of(form: Format, content: Any) -> bytes:
    if form == "jsonl":
        return "\n".join(map(json.dumps, content)).encode()
    return json.dumps(content).encode()


def test_every_format_has_its_reader() -> None:
    assert {form for form, _, _ in FILES.values()} == set(READERS)


@pytest.mark.parametrize("name", FILES)
def test_passed_failed_and_undecided_are_told_apart(name: str) -> None:
    form, content, subject = FILES[name]
    undecided = 0 if form == "jsonl" else 1
    assert read_results(bytes_of(form, content), form, name) == Results(subject, (GOOD,), (BAD,), undecided)


def test_the_output_items_above_are_as_the_published_schema_has_them() -> None:
    for item in ITEMS:
        jsonschema.validate(item, OPENAI_OUTPUT_ITEM)


def test_a_case_that_was_tried_several_times_passes_only_where_all_tries_did() -> None:
    rows = [{"case_id": GOOD, "passed": True}, {"case_id": GOOD, "passed": False}, {"case_id": GOOD, "passed": True}]
    assert read_results(bytes_of("jsonl", rows), "jsonl", "x").failed == (GOOD,)


def test_results_of_other_cases_are_passed_over() -> None:
    rows = [{"case_id": "mine-1", "passed": True}, {"case_id": 7, "passed": True}, {"case_id": GOOD, "passed": True}]
    assert read_results(bytes_of("jsonl", rows), "jsonl", "x") == Results(None, (GOOD,), (), 0)


NO_RESULTS = (
    b"\xff",
    b"{",
    b"[]",
    b"{}",
    b"7",
    b'{"results": 3}',
    b'[{"case_id": "case-1", "passed": "yes"}]',
    b"[" * 9_999,
)
AN_EMPTY_ONE = ("openai", b"[]")


@pytest.mark.parametrize(
    ("form", "data"), [pair for pair in product(READERS, NO_RESULTS) if pair != AN_EMPTY_ONE], ids=str
)
def test_what_is_no_result_is_refused_with_the_files_name(form: Format, data: bytes) -> None:
    with pytest.raises(ResultsUnreadable, match=rf"^some\.json is no result of {form} \("):
        read_results(data, form, "some.json")
