"""What the watchdog complains about, in its own words; and that a frozen process is not blamed for the time."""

from __future__ import annotations

import queue

import pytest
from faust.types import TP

from streams.batches import Batch, Partition
from streams.member import Limits
from streams.watchdog import Watchdog, overdue

from .test_batches import message

LIMITS = Limits(progress_timeout_s=60.0, restore_timeout_s=600.0)


def at_work(*, delivered_at_s: float) -> tuple[Partition, list[Batch]]:
    book = Partition(TP("traces", 3), generation=1, taken_at_s=0.0)
    book.start(7, None, claim=False)
    batches = [book.deliver([message(offset)], delivered_at_s) for offset in (7, 8)]
    for batch in batches:
        book.begin(batch)
    return book, batches


@pytest.mark.parametrize(
    ("now_s", "since_s", "complaint"),
    [
        (160.0, 0.0, None),
        (161.0, 0.0, "traces-3: the batch at offset 7 was delivered but nothing has been completed for 61 s"),
        (161.0, 150.0, None),  # the process was frozen until 150
    ],
)
def test_a_batch_that_nobody_completes_is_told(now_s: float, since_s: float, complaint: str | None) -> None:
    book, _ = at_work(delivered_at_s=100.0)
    assert overdue(book, LIMITS, now_s, since_s) == complaint


def test_a_partition_that_moves_is_left_alone() -> None:
    book, (first, _) = at_work(delivered_at_s=100.0)
    book.complete(first, 150.0)
    assert overdue(book, LIMITS, 200.0, 0.0) is None


def test_what_says_that_it_gets_on_is_left_alone_until_it_says_so_no_more() -> None:
    """A restore of a month of records, or an insert that ClickHouse does not answer."""
    book, _ = at_work(delivered_at_s=100.0)
    starting = Partition(TP("ledger", 0), generation=1, taken_at_s=0.0)
    book.alive_at_s = starting.alive_at_s = 1_000.0
    assert overdue(book, LIMITS, 1_060.0, 0.0) is overdue(starting, LIMITS, 1_600.0, 0.0) is None
    assert "nothing has been completed for 61 s" in str(overdue(book, LIMITS, 1_061.0, 0.0))
    assert "was assigned 601 s ago" in str(overdue(starting, LIMITS, 1_601.0, 0.0))


def test_a_restore_that_does_not_end_is_told() -> None:
    book = Partition(TP("ledger", 0), generation=1, taken_at_s=0.0)
    assert overdue(book, LIMITS, 600.0, 0.0) is None
    assert overdue(book, LIMITS, 601.0, 0.0) == "ledger-0 was assigned 601 s ago and its restore has not ended"


def test_the_first_complaint_ends_the_watch() -> None:
    told: queue.Queue[str] = queue.Queue()
    sentences = iter([None, "stuck", "still stuck"])
    watchdog = Watchdog(lambda now_s, since_s: next(sentences), told.put, interval_s=0.001)
    watchdog.start()
    watchdog.join()
    assert told.get_nowait() == "stuck"
    assert told.empty()


def test_a_worker_that_does_not_get_on_ends_within_a_minute() -> None:
    limits = Limits()
    longest_s = max(limits.progress_timeout_s, limits.restore_timeout_s, limits.stall_timeout_s)
    assert longest_s + 3 * limits.watch_interval_s < 60
