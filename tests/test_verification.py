"""G9: a journal is verified from its bytes, its checkpoints and a public key; whatever was done to it is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from stoploss import checkpoints, journal
from stoploss.checkpoints import SignedValue
from stoploss.commands import derived_id
from stoploss.control.keys import create_keys
from stoploss.journal import EvidenceRefused
from stoploss.signing import Signer, Verifier
from stoploss.verification import Fault, Verification, verify
from tests.evidence import EVERY, INSTALLATION, checkpoint, relinked, signed, story

ENTRIES: list[bytes] = story().journal
OTHERS: list[bytes] = story("other").journal
SIGNED_THROUGH = max(n for n, value in enumerate(ENTRIES) if checkpoints.is_due(journal.decode(value), EVERY))
EVERY_ENTRY = range(len(ENTRIES))
EVERY_SIGNED_ENTRY = range(SIGNED_THROUGH + 1)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_keys(tmp_path_factory.mktemp("keys")).private


@pytest.fixture(scope="module")
def signer(keys: Path) -> Signer:
    return Signer.load(keys)


@pytest.fixture(scope="module")
def verifier(keys: Path) -> Verifier:
    return Verifier.load(keys.with_name("monitor.pub"))


@pytest.fixture(scope="module")
def marks(signer: Signer) -> list[SignedValue]:
    return signed(ENTRIES, signer)


def fault_of(found: Verification) -> Fault:
    assert found.fault is not None
    return found.fault


def verified(entries: Sequence[bytes], marks: Sequence[SignedValue], verifier: Verifier) -> Verification:
    return verify("checkout", entries, marks, verifier)


# ---- whole -----------------------------------------------------------------------------------------


def test_an_untouched_journal_is_verified_and_says_how_far_it_is_signed(
    marks: list[SignedValue], signer: Signer, verifier: Verifier
) -> None:
    found = verified(ENTRIES, marks, verifier)
    assert found.fault is None
    assert (found.entries, found.checkpoints) == (len(ENTRIES), len(marks))
    assert (found.signed_through, found.unsigned) == (SIGNED_THROUGH, len(ENTRIES) - 1 - SIGNED_THROUGH)
    assert (found.key_ids, found.installation) == ((signer.key_id,), INSTALLATION)
    assert found.head == journal.hash_of(ENTRIES[-1])
    assert (found.first_at, found.last_at) == (journal.decode(ENTRIES[0]).at, journal.decode(ENTRIES[-1]).at)


def test_every_start_of_a_journal_has_a_checkpoint_and_is_verified(signer: Signer, verifier: Verifier) -> None:
    for length in range(1, len(ENTRIES) + 1):
        start = ENTRIES[:length]
        assert verified(start, signed(start, signer), verifier).fault is None


def test_the_story_has_signed_entries_between_checkpoints_and_unsigned_ones_behind_the_last() -> None:
    """Or the tests below would show less than they say."""
    due = [n for n, value in enumerate(ENTRIES) if checkpoints.is_due(journal.decode(value), EVERY)]
    assert len(due) >= 6
    assert max(b - a for a, b in pairwise(due)) > 1
    assert len(ENTRIES) - 1 > SIGNED_THROUGH > 15


# ---- altered ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", EVERY_SIGNED_ENTRY)
def test_any_byte_of_an_entry_altered_is_found_at_the_entry_or_at_the_link_behind_it(
    number: int, marks: list[SignedValue], verifier: Verifier
) -> None:
    covering = next(mark for mark in marks if _number(mark) >= number)
    before, behind = ENTRIES[:number], ENTRIES[number + 1 : _number(covering) + 2]
    for place in range(len(ENTRIES[number])):
        altered = [*before, _flipped(ENTRIES[number], place), *behind]
        assert fault_of(verified(altered, [covering], verifier)).where in (f"entry {number}", f"entry {number + 1}")


@pytest.mark.parametrize("number", EVERY_SIGNED_ENTRY)
def test_an_entry_rewritten_with_all_links_behind_it_is_found_by_the_next_checkpoint(
    number: int, marks: list[SignedValue], verifier: Verifier
) -> None:
    rewritten = relinked(ENTRIES, number, conclusion=EvidenceRefused("nothing happened", 0))
    covering = next(_number(mark) for mark in marks if _number(mark) >= number)
    fault = fault_of(verified(rewritten, marks, verifier))
    assert (fault.where, fault.field) == (f"entry {covering}", "sha256 of the entry")
    assert fault.expected.startswith(journal.hash_of(ENTRIES[covering]))
    assert fault.found == journal.hash_of(rewritten[covering])


def _number(mark: SignedValue) -> int:
    return checkpoints.decode(mark.value).number


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("experiment", "other"),
        ("number", 99),
        ("previous", "f" * 64),
        ("entry_id", "f" * 64),
        ("ledger_partition", 1),
        ("ledger_offset", 10**6),
        ("ordinal", 10**6),
    ],
)
def test_a_field_that_does_not_fit_is_named_at_its_entry(
    field: str, value: object, marks: list[SignedValue], verifier: Verifier
) -> None:
    """Ledger place and ordinal are in the id, so the id is what does not fit."""
    fault = fault_of(verified(relinked(ENTRIES, 3, **{field: value}), marks, verifier))
    named = field if field in ("experiment", "number", "previous") else "entry_id"
    assert (fault.where, fault.field) == ("entry 3", named)
    assert (fault.found == str(value)) == (named == field)


@pytest.mark.parametrize("field", ["ledger_partition", "ledger_offset", "at", "run"])
def test_an_entry_that_goes_back_is_found_though_its_id_and_every_link_fit(
    field: str, signer: Signer, verifier: Verifier
) -> None:
    """Even where the key signs it: the ledger is in order, so what was concluded from it is."""
    entry = journal.decode(ENTRIES[5])
    changed = replace(entry, **{field: getattr(entry, field) + 1 if field == "ledger_partition" else 0})
    place = (changed.experiment, changed.ledger_partition, changed.ledger_offset, changed.ordinal)
    fields = {field: getattr(changed, field), "entry_id": derived_id(*place)}
    rewritten = relinked(ENTRIES, 5, **fields)
    fault = fault_of(verified(rewritten, signed(rewritten, signer), verifier))
    assert (fault.where, fault.field) == ("entry 5", field)


# ---- dropped, reordered, cut off -------------------------------------------------------------------


@pytest.mark.parametrize("number", EVERY_ENTRY[:-1])
def test_a_dropped_entry_is_found_where_it_stood(number: int, marks: list[SignedValue], verifier: Verifier) -> None:
    fault = fault_of(verified([*ENTRIES[:number], *ENTRIES[number + 1 :]], marks, verifier))
    assert (fault.where, fault.field, fault.found) == (f"entry {number}", "number", str(number + 1))


@pytest.mark.parametrize("number", EVERY_ENTRY)
def test_a_repeated_entry_is_found(number: int, marks: list[SignedValue], verifier: Verifier) -> None:
    fault = fault_of(verified([*ENTRIES[: number + 1], *ENTRIES[number:]], marks, verifier))
    assert (fault.where, fault.field, fault.found) == (f"entry {number + 1}", "number", str(number))


@pytest.mark.parametrize("number", EVERY_ENTRY[:-1])
def test_two_entries_in_the_wrong_order_are_found(number: int, marks: list[SignedValue], verifier: Verifier) -> None:
    swapped = [*ENTRIES[:number], ENTRIES[number + 1], ENTRIES[number], *ENTRIES[number + 2 :]]
    fault = fault_of(verified(swapped, marks, verifier))
    assert (fault.where, fault.field, fault.found) == (f"entry {number}", "number", str(number + 1))


@pytest.mark.parametrize("length", EVERY_SIGNED_ENTRY)
def test_a_journal_that_was_cut_off_before_its_last_checkpoint_is_found(
    length: int, marks: list[SignedValue], verifier: Verifier
) -> None:
    fault = fault_of(verified(ENTRIES[:length], marks, verifier))
    assert (fault.where, fault.field) == ("the end of the journal", "entries")
    assert fault.expected.startswith(f"entries up to {SIGNED_THROUGH} ")
    assert fault.found == f"{length}: it was cut off"


@pytest.mark.parametrize("number", EVERY_SIGNED_ENTRY)
def test_an_entry_of_another_experiment_is_found(number: int, marks: list[SignedValue], verifier: Verifier) -> None:
    fault = fault_of(verified([*ENTRIES[:number], OTHERS[number], *ENTRIES[number + 1 :]], marks, verifier))
    assert fault == Fault(f"entry {number}", "experiment", "checkout", "other")


def test_behind_the_last_checkpoint_nothing_is_promised_and_that_is_said(
    marks: list[SignedValue], verifier: Verifier
) -> None:
    """What is not detectable is counted: nobody may take it for verified."""
    rewritten = relinked(ENTRIES, len(ENTRIES) - 1, conclusion=EvidenceRefused("nothing happened", 0))
    found = verified(rewritten, marks, verifier)
    assert (found.fault, found.unsigned > 0) == (None, True)
    cut_off = verified(ENTRIES[: SIGNED_THROUGH + 1], marks, verifier)
    assert (cut_off.fault, cut_off.unsigned) == (None, 0)


# ---- checkpoints -----------------------------------------------------------------------------------


def test_any_bit_of_a_checkpoint_or_of_its_signature_altered_is_found(
    marks: list[SignedValue], verifier: Verifier
) -> None:
    mark = marks[2]
    forged = [replace(mark, value=_flipped(mark.value, place)) for place in range(len(mark.value))]
    header = (mark.signature or "").encode()
    forged += [replace(mark, signature=_flipped(header, place).decode("latin-1")) for place in range(len(header))]
    for one in forged:
        fault = fault_of(verified(ENTRIES, [*marks[:2], one, *marks[3:]], verifier))
        assert (fault.where, fault.field) == (f"checkpoint 3 of {len(marks)}", "signature")


def _flipped(value: bytes, place: int) -> bytes:
    return bytes([*value[:place], value[place] ^ 1, *value[place + 1 :]])


def test_a_checkpoint_of_another_key_is_not_believed(
    marks: list[SignedValue], verifier: Verifier, tmp_path: Path
) -> None:
    stranger = Signer.load(create_keys(tmp_path).private)
    fault = fault_of(verified(ENTRIES, [*marks, checkpoint(ENTRIES[-1], stranger)], verifier))
    assert f"signed by key {stranger.key_id}, which is not trusted here" in fault.found


def test_an_unsigned_checkpoint_is_not_believed(marks: list[SignedValue], verifier: Verifier) -> None:
    fault = fault_of(verified(ENTRIES, [replace(marks[0], signature=None), *marks[1:]], verifier))
    assert (fault.where, "not signed" in fault.found) == (f"checkpoint 1 of {len(marks)}", True)


@pytest.mark.parametrize(("field", "value"), [("experiment", "other"), ("installation", "elsewhere")])
def test_a_rightly_signed_checkpoint_of_something_else_is_found(
    field: str, value: str, marks: list[SignedValue], signer: Signer, verifier: Verifier
) -> None:
    foreign = checkpoint(ENTRIES[-1], signer, **{field: value})
    fault = fault_of(verified(ENTRIES, [*marks, foreign], verifier))
    assert (fault.where, fault.field, fault.found) == (f"checkpoint {len(marks) + 1} of {len(marks) + 1}", field, value)


@pytest.mark.parametrize("field", ["run", "ledger_partition", "ledger_offset", "at"])
def test_a_checkpoint_that_contradicts_its_entry_is_found(
    field: str, marks: list[SignedValue], signer: Signer, verifier: Verifier
) -> None:
    wrong = checkpoint(ENTRIES[-1], signer, **{field: 77})
    fault = fault_of(verified(ENTRIES, [*marks, wrong], verifier))
    assert (fault.where, fault.field) == (f"entry {len(ENTRIES) - 1}", field)


def test_a_signed_value_that_is_no_checkpoint_is_found(signer: Signer, verifier: Verifier) -> None:
    """The same key signs commands: a signature alone makes no checkpoint of them."""
    fault = fault_of(verified(ENTRIES, [SignedValue(ENTRIES[0], signer.sign(ENTRIES[0]))], verifier))
    assert (fault.where, fault.field) == ("checkpoint 1 of 1", "value")


def test_a_journal_without_a_checkpoint_is_not_verified(verifier: Verifier) -> None:
    fault = fault_of(verified(ENTRIES, [], verifier))
    assert (fault.where, fault.field, fault.found) == ("the journal", "checkpoints", "none")


def test_a_checkpoint_that_is_missing_before_another_takes_nothing_away(
    marks: list[SignedValue], verifier: Verifier
) -> None:
    found = verified(ENTRIES, marks[-1:], verifier)
    assert (found.fault, found.signed_through) == (None, SIGNED_THROUGH)


def test_keys_that_were_changed_are_both_named(signer: Signer, keys: Path, tmp_path: Path) -> None:
    new = create_keys(tmp_path)
    both = signed(ENTRIES, signer)[:3] + signed(ENTRIES, Signer.load(new.private))[3:]
    found = verified(ENTRIES, both, Verifier.load(keys.with_name("monitor.pub"), new.public))
    assert found.fault is None
    assert found.key_ids == tuple(sorted((signer.key_id, new.key_id)))
