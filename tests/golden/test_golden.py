"""A code change that alters a verdict shows here, as a difference against ledgers that were judged before it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from stoploss import ledger
from stoploss.ledger import Entry
from stoploss.rules import rules_version
from tests.golden.files import Golden, difference, is_unannounced, judged, ledger_file, stored
from tests.golden.stories import STORIES

MEANT = "if this is meant: run `make golden` and add a **Replay:** line to CHANGELOG.md"
NAMES = list(STORIES)
LARGEST_BYTES = 200_000


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_ledger_is_judged_as_it_was(name: str) -> None:
    before, now = Golden.read(name), judged(name)
    found = difference(before, now, name)
    assert not found, f"\n{found}\n{MEANT}"
    assert now.chain == before.chain, f"the text is equal and the bytes are not: look at the schema; {MEANT}"


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_rule_has_raised_its_version_and_the_golden_journals_know(name: str) -> None:
    recorded, today = (set(text.split()) for text in (Golden.read(name).rules, rules_version()))
    assert recorded == today, f"{sorted(recorded ^ today)} differ: run `make golden`; {MEANT}"


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_ledger_is_small_and_made_by_its_story(name: str) -> None:
    """Not to the byte: the schema of a fact may have grown since."""
    assert ledger_file(name).stat().st_size < LARGEST_BYTES
    facts = [Entry(0, entry.offset, entry.at, ledger.decode(entry.value)) for entry in stored(name)]
    assert facts == STORIES[name]().entries


def test_the_stories_tell_what_each_kind_of_rule_orders_and_a_quiet_run() -> None:
    ordered = {name: _ordered(name) for name in NAMES}
    assert ordered["gate"] == [("stop", "gate")]
    assert ordered["slow_treatment"] == [("rollback", "guardrail")]
    assert ordered["broken_tenant"] == [("stop_segment", "guardrail")]
    assert ordered["quiet"] == []
    assert ordered["spent"] == [("throttle", "budget"), ("pause", "budget")]
    assert ordered["unbalanced"] == []
    assert ordered["moved"] == [("pause", "drift")]
    assert ordered["unseen"] == [("pause", "source_behind")]
    assert ordered["weighed"] == []


def test_the_stories_tell_findings_of_all_rules_that_a_golden_ledger_can_hold() -> None:
    said = [entry["conclusion"] for name in NAMES for entry in Golden.read(name).entries]
    told = {one["evidence"]["rule"] for one in said if "verdict" in one}
    assert told >= {
        "gate", "guardrail", "budget", "uncounted", "sample_ratio", "over_exposure", "drift", "mix_drift", "silence",
        "objective",
    }  # fmt: skip


def test_a_verdict_that_changed_is_shown_field_by_field() -> None:
    before = Golden.read("slow_treatment")
    now = _altered(before, lower=0.123)
    shown = difference(before, now, "slow_treatment")
    assert '+   "lower": 0.123,' in shown
    assert len(shown.splitlines()) < 20


def test_a_finding_that_changed_wants_a_version_that_says_so() -> None:
    before = Golden.read("slow_treatment")
    now = _altered(before, lower=0.123)
    assert is_unannounced(before, now)
    assert not is_unannounced(before, replace(now, rules=f"{now.rules} Another@1"))
    assert not is_unannounced(before, before)


def _ordered(name: str) -> list[tuple[str, str]]:
    """What the judge ordered by itself: the action, and why, which stands right before it."""
    said = [entry["conclusion"] for entry in Golden.read(name).entries]
    pairs = [(one["action"], before) for before, one in pairwise(said) if "sequence" in one]
    return [(action, _why(before)) for action, before in pairs if action != "set_exposure"]


def _why(before: dict[str, Any]) -> str:
    """The rule that found it; of what the monitor cannot see, the cause."""
    return str(before["evidence"]["rule"] if "evidence" in before else before["cause"])


def _altered(golden: Golden, **evidence: float) -> Golden:
    """The golden journal with other numbers in its breach."""
    altered = json.loads(json.dumps(golden.entries))
    for said in (entry["conclusion"] for entry in altered):
        if said.get("verdict") == "breach":
            said["evidence"].update(evidence)
    return replace(golden, entries=tuple(altered))
