"""The book of delivered batches: what may be committed, and which use of it is refused."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Message
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from stoploss.ledger import Source
from streams.batches import Batch, BatchMisuse, Mark, Partition

HERE = TP("traces", 3)


def message(offset: int, value: bytes = b"x") -> Message:
    return Message("traces", 3, offset, value=value)


def partition(at: int = 0, committed: int | None = None, *, claim: bool = False) -> Partition:
    taken = Partition(HERE, generation=1, taken_at_s=0.0)
    taken.start(at, committed, claim=claim)
    return taken


def test_what_is_unread_is_as_old_as_the_last_that_was_read_unless_only_a_marker_is_left() -> None:
    book = partition(at=0)
    assert book.read_ms == pytest.approx(time.time() * 1_000, abs=60_000)
    book.read_ms = 1_000
    assert book.unread(5, now_s=31.0) == (5, 30.0)
    assert book.unread(1, now_s=31.0) == (1, 0.0)
    assert book.unread(0, now_s=31.0) == (0, 0.0)
    assert book.unread(5, now_s=0.5) == (5, 0.0)  # the broker's clock is ahead


def due(book: Partition) -> int | None:
    return None if book.commit_due is None else book.commit_due.offset


def test_what_is_committed_names_its_log() -> None:
    taken = Partition(HERE, generation=1, taken_at_s=0.0)
    taken.start(5, None, claim=True, log="uuid")
    assert taken.commit_due == Mark(5, "uuid")


def test_a_batch_names_the_log_that_it_was_read_from() -> None:
    """Where its rows have come from: under the same name and offsets there may have been another log."""
    taken = Partition(HERE, generation=1, taken_at_s=0.0)
    taken.start(0, None, claim=False, log="uuid")
    [batch] = delivered(taken, (0, 2))
    assert batch.source == Source("traces", "uuid", 3)


def delivered(book: Partition, *spans: tuple[int, int]) -> list[Batch]:
    return [book.deliver([message(offset) for offset in range(first, end)], 0.0) for first, end in spans]


@given(order=st.permutations(range(6)), done=st.integers(0, 6))
def test_the_commit_is_the_end_of_the_longest_completed_prefix(order: list[int], done: int) -> None:
    book = partition()
    batches = delivered(book, *[(10 * n, 10 * n + 7) for n in range(6)])
    for batch in batches:
        book.begin(batch)
    for n in order[:done]:
        book.complete(batches[n], 1.0)
    unfinished = min(order[done:], default=6)
    assert due(book) == (10 * (unfinished - 1) + 7 if unfinished else None)


def test_a_hole_between_batches_holds_nothing_back() -> None:
    book = partition()
    for batch in delivered(book, (0, 3), (7, 9)):
        book.begin(batch)
        book.complete(batch, 1.0)
    assert due(book) == 9


def test_what_the_broker_took_is_not_due_again() -> None:
    book = partition()
    (batch,) = delivered(book, (0, 3))
    book.begin(batch)
    book.complete(batch, 1.0)
    book.committed = due(book)
    assert book.commit_due is None


def test_a_restored_start_is_claimed_when_the_last_commit_was_lost() -> None:
    assert due(partition(at=500, committed=400, claim=True)) == 500


def test_a_start_at_the_committed_offset_commits_nothing() -> None:
    assert partition(at=400, committed=400).commit_due is None


def test_a_batch_begun_before_an_older_one_is_refused() -> None:
    book = partition()
    _, second = delivered(book, (0, 3), (3, 5))
    with pytest.raises(BatchMisuse, match="traces-3 offsets 3 to 4 was begun before the one at offset 0"):
        book.begin(second)


@pytest.mark.parametrize(("begun", "why"), [(False, "not begun"), (True, "already complete")])
def test_a_batch_not_begun_or_already_complete_cannot_be_completed(begun: bool, why: str) -> None:
    book = partition()
    (batch,) = delivered(book, (0, 3))
    if begun:
        book.begin(batch)
        book.complete(batch, 1.0)
    with pytest.raises(BatchMisuse, match=f"offsets 0 to 2 cannot be completed: it is {why}"):
        book.complete(batch, 2.0)


def test_completed_batches_free_their_room() -> None:
    book = partition()
    (batch,) = delivered(book, (0, 3))
    assert book.outstanding_bytes > 0
    book.begin(batch)
    assert book.working
    book.complete(batch, 1.0)
    assert (book.outstanding_bytes, book.working, book.oldest_outstanding) == (0, False, None)


def test_a_partition_is_done_up_to_its_oldest_batch_that_is_not_complete() -> None:
    book = partition(at=400)
    assert book.done_to == 400
    first, second = delivered(book, (400, 403), (405, 407))
    for batch in (first, second):
        book.begin(batch)
    assert book.done_to == 400
    book.complete(second, 1.0)
    assert book.done_to == 400
    book.complete(first, 2.0)
    assert book.done_to == 407


def test_a_fenced_partition_commits_nothing_and_holds_up_nobody() -> None:
    book = partition()
    first, second = delivered(book, (0, 3), (3, 5))
    book.begin(first)
    book.complete(first, 1.0)
    book.begin(second)
    book.fenced = True
    assert (book.commit_due, book.working) == (None, False)
