"""SECURITY.md speaks of everybody who can get in."""

from __future__ import annotations

import re
from pathlib import Path

from stoploss.acls import GRANTS

TEXT = (Path(__file__).parents[2] / "SECURITY.md").read_text()


def section(title: str) -> str:
    return TEXT.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_user_of_the_brokers_stands_among_what_is_trusted() -> None:
    trusted = set(re.findall(r"`([a-z-]+)`", section("What is trusted")))
    assert set(GRANTS) <= trusted
    assert "admin" in trusted


def test_the_number_of_those_who_may_write_the_ledger_is_the_one_that_is_said() -> None:
    writers = {user for user, grant in GRANTS.items() if "ledger" in grant.writes}
    assert writers == {"intake", "joiner", "otlp", "registrar", "courier", "judge"}
    assert "six users" in section("What is trusted")


def test_both_questions_are_answered_way_by_way() -> None:
    for title in ("Who could stop a good variant", "Who could keep a bad one alive"):
        rows = [line.strip("|").split("|") for line in section(title).splitlines() if line.startswith("| ")][1:]
        assert len(rows) >= 10
        assert all(how.strip() and holds.strip() for how, holds in rows)
