"""The changelog owns up to each rule that concludes something else than before: a **Replay:** entry names it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from stoploss.rules import RULES

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def replay_entries(text: str) -> list[str]:
    """Entries that begin with **Replay:**, each on one line, in small letters."""
    entries = re.split(r"\n(?=- |#)", text)
    return [" ".join(entry.split()).lower() for entry in entries if entry.startswith("- **Replay:**")]


def unnamed(rules: Iterable[tuple[str, int]], entries: list[str]) -> list[str]:
    """Rules above version 1 that no entry names with their version: "budget (version 2)", or "budgets (version 2)"."""
    changed = [f"{kind.replace('_', ' ')} (version {version})" for kind, version in rules if version > 1]
    return [name for name in changed if not any(_names(entry, name) for entry in entries)]


def _names(entry: str, name: str) -> bool:
    kind, _, version = name.partition(" (")
    return f"{kind} ({version}" in entry or f"{kind}s ({version}" in entry


def test_every_rule_that_has_changed_is_named_with_its_version() -> None:
    fields = [rule.__dataclass_fields__ for rule in RULES]
    rules = [(of["kind"].default, of["version"].default) for of in fields]
    missing = unnamed(rules, replay_entries(CHANGELOG.read_text()))
    assert missing == [], f"add a **Replay:** entry to CHANGELOG.md that names {', '.join(missing)}"


def test_an_entry_that_names_another_version_or_none_is_not_enough() -> None:
    entries = replay_entries("# x\n\n- **Replay:** budgets (version 2)\n  burn.\n- drift (version 3)\n")
    assert entries == ["- **replay:** budgets (version 2) burn."]
    assert unnamed([("budget", 2), ("gate", 1)], entries) == []
    assert unnamed([("budget", 3), ("drift", 3)], entries) == ["budget (version 3)", "drift (version 3)"]
