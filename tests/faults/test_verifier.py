"""The verifier sees what it is there to see: each kind of damage, put in by hand."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stoploss import journal
from stoploss.control.keys import create_keys
from stoploss.control.messages import write_command
from stoploss.journal import JournalEntry, LifecycleChanged
from stoploss.signing import Signer
from tests.control.orders import order, rollback
from tests.faults import verifier
from tests.faults.records import Place, sent
from tests.faults.verifier import Found

UUID = "uuid-of-traces"
SOURCES = [{"topic": "traces", "topic_uuid": UUID, "partition": 0}]


def block(*offsets: int) -> dict[str, Any]:
    """A block of evidence with rows of these offsets."""
    return {
        "sources": SOURCES,
        "source": bytes(len(offsets)),
        "offset": struct.pack(f"<{len(offsets)}q", *offsets),
    }


def places(*offsets: int) -> set[Place]:
    return {(UUID, 0, offset) for offset in offsets}


def evidence(*blocks: dict[str, Any], valid: set[Place], bad: set[Place] = frozenset()) -> Found:  # type: ignore[assignment]
    found = Found()
    verifier.compare_evidence("harmed", Counter(verifier.untrimmed(blocks)), valid, bad, found)
    return found


def test_repeats_that_the_watermark_trims_are_counted_once() -> None:
    found = evidence(block(0, 1), block(0, 1, 2), block(3), valid=places(0, 1, 2, 3))
    assert (found.lost, found.doubled, found.wrong) == (0, 0, [])


def test_a_gap_is_lost_and_a_row_twice_in_a_block_is_doubled() -> None:
    found = evidence(block(0, 2, 2), block(1), valid=places(0, 1, 2))
    assert (found.lost, found.doubled) == (1, 1)


def test_evidence_that_was_bad_or_that_nobody_sent_is_told() -> None:
    [bad] = evidence(block(0, 1), valid=places(0), bad=places(1)).wrong
    [strange] = evidence(block(0, 7), valid=places(0)).wrong
    assert "were not valid" in bad
    assert "nobody sent" in strange


def test_a_bad_record_that_is_no_dead_letter_is_lost() -> None:
    found = Found()
    verifier.compare_dead_letters([], places(4), found)
    assert found.lost == 1


@pytest.mark.parametrize(
    ("came_back", "lost", "doubled"),
    [(["a", "b"], 0, 0), (["a"], 1, 0), (["a", "b", "b"], 0, 1), (["a", "b", "c"], 0, 0)],
)
def test_a_bare_outcome_that_comes_back_never_twice_or_unasked_is_told(
    came_back: list[str], lost: int, doubled: int
) -> None:
    found = Found()
    verifier.compare_given_back({"a", "b"}, Counter(came_back), found)
    assert (found.lost, found.doubled, len(found.wrong)) == (lost, doubled, came_back != ["a", "b"])


def test_an_outcome_of_the_log_stands_in_the_topic_of_outcomes(tmp_path: Path) -> None:
    log = tmp_path / "sent.log"
    log.write_text("one 0 7 evidence\none 1 3 outcome\ntwo 0 4 bare\n")
    found = sent([(str(log), {"traces": "t", "outcomes": "o"})])
    assert found["evidence"].places == {("t", 0, 7)}
    assert found["outcome"].places == {("o", 1, 3)}
    assert found["bare"].trace_ids == {"two"}


# ---- the journal -----------------------------------------------------------------------------------


def chain(length: int) -> list[bytes]:
    """Journal entries, each linked to the one before it."""
    values: list[bytes] = []
    previous = journal.GENESIS
    for number in range(length):
        said = LifecycleChanged("running", "holding", f"change {number}")
        entry = JournalEntry(f"id-{number}", "harmed", number, 1, 1, 0, 0, number, 0, previous, said)
        values.append(journal.encode(entry))
        previous = journal.hash_of(values[-1])
    return values


@pytest.mark.parametrize("damage", [lambda v: v[:1] + v[2:], lambda v: v[::-1], lambda v: v[:2] + v[1:]])
def test_a_chain_with_a_gap_another_order_or_a_repeat_is_told(damage: Any) -> None:
    whole, broken = Found(), Found()
    verifier.compare_chain("harmed", chain(4), whole)
    verifier.compare_chain("harmed", damage(chain(4)), broken)
    assert (whole.wrong, len(broken.wrong)) == ([], 1)


def test_an_entry_more_less_or_other_than_the_fold_is_told() -> None:
    folded = [hashlib.sha256(value).hexdigest() for value in chain(4)]
    for published in (folded[:3], [*folded, "more"], [*folded[:2], "other", folded[3]]):
        found = Found()
        verifier.compare_fold("harmed", published, folded, found)
        assert len(found.wrong) == 1, published


# ---- commands --------------------------------------------------------------------------------------


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.load(create_keys(tmp_path).private)


def test_two_commands_in_one_place_are_one_too_many_and_the_same_again_is_not(signer: Signer) -> None:
    first, again = write_command(rollback(2), signer, "test").value, write_command(rollback(2), signer, "test").value
    other = write_command(replace(rollback(2), command_id="other"), signer, "test").value
    fine, broken = Found(), Found()
    assert [c["sequence"] for c in verifier.effective([first, again], fine)["checkout"]] == [2]
    verifier.effective([first, other], broken)
    assert (fine.wrong, len(broken.wrong)) == ([], 1)


def test_a_raise_that_was_written_after_it_expired_is_nobodys() -> None:
    assert verifier.is_in_time({"expires_at": None}, 10)
    assert [verifier.is_in_time({"expires_at": 10_000}, written_ms) for written_ms in (9, 10)] == [True, False]


def test_a_command_that_the_journal_does_not_name_is_told(signer: Signer) -> None:
    found = Found()
    given = verifier.effective([write_command(order(), signer, "test").value], found)
    verifier.compare_decisions("checkout", given["checkout"], chain(2), found)
    assert len(found.wrong) == 1
