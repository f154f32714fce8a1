"""Which entries get a checkpoint, and what it says."""

from __future__ import annotations

from itertools import pairwise

import pytest

from stoploss import checkpoints, journal
from stoploss.journal import LifecycleChanged
from tests.evidence import story

ENTRIES = story().journal


@pytest.mark.parametrize("every", [1, 2, 4, 256])
def test_the_first_entry_each_nth_behind_it_and_each_change_of_the_lifecycle_are_due(every: int) -> None:
    for number, value in enumerate(ENTRIES):
        entry = journal.decode(value)
        changes = isinstance(entry.conclusion, LifecycleChanged)
        assert checkpoints.is_due(entry, every) == (number % every == 0 or changes)


def test_however_rare_checkpoints_are_a_stop_is_signed_with_its_command() -> None:
    due = [journal.decode(value) for value in ENTRIES if checkpoints.is_due(journal.decode(value), 10**9)]
    said = [entry.conclusion.after for entry in due if isinstance(entry.conclusion, LifecycleChanged)]
    assert said == ["running", "stopped", "running", "stopped"]


def test_a_checkpoint_names_its_entry_by_the_hash_that_the_next_one_carries() -> None:
    for value, behind in pairwise(ENTRIES):
        entry = journal.decode(value)
        made = checkpoints.checkpoint_of(entry, value, "here")
        assert made.chain == journal.decode(behind).previous
        assert (made.installation, made.number, made.at) == ("here", entry.number, entry.at)
