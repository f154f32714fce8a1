"""Offline results in the formats that the cases went out in: which cases passed, and which failed.

jsonl      lines {"case_id": …, "passed": true}
inspect    an evaluation log as JSON (`inspect log dump FILE`, or --log-format json)
promptfoo  what `promptfoo eval --output FILE.json` writes
deepeval   a test run as JSON, as deepeval saves it in its results folder
openai     output items of a run of the Evals API: a list of them, or the answer that lists them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stoploss.errors import StoplossError
from stoploss.followup import Format

Verdict = tuple[Any, bool | None]
"""The case id that a result names, which may be anything, and whether it passed; None: it was not decided."""


class ResultsUnreadable(StoplossError):
    """A file that is no result of that format."""


@dataclass(frozen=True, slots=True)
class Results:
    """
    subject    what was evaluated, where the file says so
    passed     case ids; of a case that was tried several times, all tries passed
    failed     case ids
    undecided  results that name one of our cases and neither passed nor failed
    """

    subject: str | None
    passed: tuple[str, ...]
    failed: tuple[str, ...]
    undecided: int


def read_results(data: bytes, form: Format, name: str) -> Results:
    """Of a file's bytes; raises ResultsUnreadable, which names the file and what was expected in it."""
    try:
        subject, verdicts = READERS[form](data)
        decided: dict[str, bool] = {}
        undecided = 0
        for case, passed in verdicts:
            if not isinstance(case, str) or not case.startswith("case-"):
                continue
            if passed is None:
                undecided += 1
            else:
                decided[case] = decided.get(case, True) and passed
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ResultsUnreadable(f"{name} is no result of {form} ({why}); see `stoploss cases --help`") from error
    passed_ids = tuple(sorted(case for case, passed in decided.items() if passed))
    return Results(subject, passed_ids, tuple(sorted(decided.keys() - set(passed_ids))), undecided)


def _jsonl(data: bytes) -> tuple[str | None, Iterable[Verdict]]:
    rows = [json.loads(line) for line in data.decode().splitlines() if line.strip()]
    return None, [(row["case_id"], _boolean(row["passed"])) for row in rows]


def _inspect(data: bytes) -> tuple[str | None, Iterable[Verdict]]:
    log = json.loads(data)
    return log["eval"].get("model"), [(sample["id"], _scored(sample)) for sample in log["samples"]]


def _scored(sample: dict[str, Any]) -> bool | None:
    """All scorers of a sample have to be content; `N` is no answer, and `P` half of one: neither passes."""
    scores = list((sample.get("scores") or {}).values())
    if sample.get("error") or not scores:
        return None
    return all(_is_correct(score["value"]) for score in scores)


def _is_correct(value: object) -> bool:
    if isinstance(value, str):
        return value.upper() in ("C", "YES", "TRUE", "1", "1.0")
    return isinstance(value, (bool, int, float)) and float(value) >= 1.0


def _promptfoo(data: bytes) -> tuple[str | None, Iterable[Verdict]]:
    rows = json.loads(data)["results"]["results"]
    providers = {_provider(row) for row in rows}
    return ", ".join(sorted(filter(None, providers))) or None, _of_promptfoo(rows)


def _provider(row: dict[str, Any]) -> str | None:
    provider = row.get("provider") or {}
    return provider.get("label") or provider.get("id")


def _of_promptfoo(rows: Iterable[dict[str, Any]]) -> Iterator[Verdict]:
    """A call that went wrong (failureReason 2) says nothing of the case."""
    for row in rows:
        metadata = (row.get("testCase") or {}).get("metadata") or row.get("metadata") or {}
        yield metadata.get("case_id"), None if row.get("failureReason") == 2 else _boolean(row["success"])


def _deepeval(data: bytes) -> tuple[str | None, Iterable[Verdict]]:
    run = json.loads(data)
    subject = (run.get("hyperparameters") or {}).get("model") or run.get("identifier")
    return subject, [(_of_deepeval(case), case.get("success")) for case in run["testCases"]]


def _of_deepeval(case: dict[str, Any]) -> object:
    for field in ("metadata", "additionalMetadata"):
        if found := (case.get(field) or {}).get("case_id"):
            return found
    return case.get("name")


def _openai(data: bytes) -> tuple[str | None, Iterable[Verdict]]:
    found = json.loads(data)
    items = found["data"] if isinstance(found, dict) else found
    models = {(item.get("sample") or {}).get("model") for item in items}
    return ", ".join(sorted(filter(None, models))) or None, [_of_openai(item) for item in items]


def _of_openai(item: dict[str, Any]) -> Verdict:
    row = item["datasource_item"]
    case = row.get("case_id") or (row.get("item") or {}).get("case_id")
    return case, {"pass": True, "fail": False}.get(item["status"])


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


READERS: dict[Format, Callable[[bytes], tuple[str | None, Iterable[Verdict]]]] = {
    "jsonl": _jsonl,
    "inspect": _inspect,
    "promptfoo": _promptfoo,
    "deepeval": _deepeval,
    "openai": _openai,
}
