"""Cases in the formats of those who evaluate offline. None of them gets an expected answer, for nobody knows one.

jsonl      one object a line, everything that is known
inspect    samples for inspect_ai's json_dataset; the target is the criterion, as a model grader reads it
promptfoo  test cases as JSON, for `tests: file://FILE`; the criterion is an llm-rubric
deepeval   goldens for EvaluationDataset.add_goldens_from_json_file
openai     lines for a jsonl data source of the Evals API, each {"item": …}
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from stoploss.cases.model import Case
from stoploss.followup import Format

Object = dict[str, Any]
# A brace that is left over by this is followed by no other, so it cannot begin a template with what is put in.
_TEMPLATE = re.compile(r"\{[{%#]|\A(?:file|package|https?|python|exec):")


def exported(cases: Sequence[Case], form: Format) -> str:
    """The whole file; the same cases give the same bytes."""
    return FORMATS[form](cases)


def _jsonl(cases: Iterable[Case]) -> str:
    return _lines(asdict(case) for case in cases)


def _inspect(cases: Iterable[Case]) -> str:
    return _lines(
        {"id": case.case_id, "input": case.input, "target": case.criterion, "metadata": _behind(case)} for case in cases
    )


def _promptfoo(cases: Iterable[Case]) -> str:
    return _document(
        {
            "description": f"{case.case_id}: {case.metric}",
            "vars": {"input": literal(case.input)},
            "assert": [{"type": "llm-rubric", "value": literal(case.criterion), "metric": case.metric}],
            "metadata": _behind(case),
        }
        for case in cases
    )


def _deepeval(cases: Iterable[Case]) -> str:
    return _document(
        {
            "name": case.case_id,
            "input": case.input,
            "expected_output": None,
            "comments": case.criterion,
            "additional_metadata": _behind(case),
        }
        for case in cases
    )


def _openai(cases: Iterable[Case]) -> str:
    items = ({"input": case.input, "criterion": case.criterion, **_behind(case)} for case in cases)
    return _lines({"item": item} for item in items)


FORMATS: dict[Format, Callable[[Sequence[Case]], str]] = {
    "jsonl": _jsonl,
    "inspect": _inspect,
    "promptfoo": _promptfoo,
    "deepeval": _deepeval,
    "openai": _openai,
}


def _behind(case: Case) -> Object:
    """Where a case came from; results are read back by `case_id`."""
    return {
        "case_id": case.case_id,
        "failing_output": case.failing_output,
        "made_by": case.made_by,
        "seen": case.seen,
        "links": [asdict(link) for link in case.links],
    }


def literal(text: str) -> str:
    """Text that promptfoo must neither run as a template nor load as a file: it came from traffic.

    >>> literal("file:///etc/passwd"), literal("as {{ env.KEY }}"), literal("plain: {}")
    ('{{ "file:" }}///etc/passwd', 'as {{ "{{" }} env.KEY }}', 'plain: {}')
    """
    return _TEMPLATE.sub(lambda found: f'{{{{ "{found[0]}" }}}}', text)


def _lines(objects: Iterable[Object]) -> str:
    return "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in objects)


def _document(objects: Iterable[Object]) -> str:
    return f"{json.dumps(list(objects), ensure_ascii=False, indent=2)}\n"
