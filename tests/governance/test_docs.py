"""docs/governance.md says what the code does: its table is generated, its examples are read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from stoploss.governance.roles import parse_roles
from stoploss.governance.table import lifecycle_lines
from stoploss.policy.file import parse_policy
from stoploss.policy.model import AT_START, Evidence
from stoploss.policy.requirements import CHECKS
from tests.governance.people import KEYS, raw_text

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "governance.md").read_text()
NUMBERS: dict[str, Iterable[int]] = {
    "A": [4],
    "D": [1, 2, 3, 8, 9, 10],
    "E": [1, 5],
    "G": range(1, 9),
    "P": range(1, 4),
    "R": [1, 3, 4, 5],
    "V": [1, 3],
    "W": [3, 4],
    "X": range(1, 11),
}
DEMANDS = {f"{letter}{number}" for letter, numbers in NUMBERS.items() for number in numbers}
"""What an organisation asks of experiments; all of it has a row."""
WORDS = re.compile(r"\w+")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_the_lifecycle_table_is_the_one_that_the_judge_obeys() -> None:
    shown = TEXT.split("<!-- lifecycle -->\n")[1].split("<!-- end -->")[0]
    assert shown == "\n".join(lifecycle_lines()) + "\n", "run `python -m stoploss.governance.table`"


def test_the_policy_of_the_document_can_be_read() -> None:
    assert parse_policy(EXAMPLES[0]).metadata.name == "house-rules"


def test_the_roles_of_the_document_can_be_read() -> None:
    text = EXAMPLES[1].replace("<key>", raw_text(KEYS["ada"].public_key()))
    assert parse_roles(text).stewards == ("carol",)


def test_every_evidence_that_a_policy_may_require_is_checked_and_explained() -> None:
    assert set(get_args(Evidence)) == CHECKS.keys() | AT_START
    assert [name for name in get_args(Evidence) if f"`{name}`" not in TEXT] == []


def test_every_demand_in_the_table_is_named_by_a_test_where_it_says() -> None:
    rows = re.findall(r"^\| ([A-Z]\d+(?:, [A-Z]\d+)*) \|.*\|(.*)\|$", TEXT, re.MULTILINE)
    assert {one for ids, _ in rows for one in ids.split(", ")} == DEMANDS
    for ids, cell in rows:
        tests = [ROOT / "docs" / path for path in re.findall(r"\]\(([^)]+)\)", cell)]
        said = set(WORDS.findall("\n".join(path.read_text() for path in tests)))
        assert set(ids.split(", ")) <= said, ids
