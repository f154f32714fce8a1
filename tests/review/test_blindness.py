"""What people are told of the time in which nobody watched."""

from __future__ import annotations

from typing import Any

from stoploss.review.blindness import blindness
from stoploss.review.explained import sections
from stoploss.review.markdown import markdown
from stoploss.store.rows import TimelineEntry
from tests.review.rows import at, entry, experiment
from tests.review.test_document import reviewed
from tests.review.test_explained import STORY, lines_of, told

WHY = "intake has said nothing of stoploss.traces/0 for 16 seconds (limit 15)"


def blind(number: int, since: int, until: int | None = None, **changes: Any) -> TimelineEntry:
    said = {"cause": "source_missing", "reason": WHY if until is None else "seen again", "since": since, "until": until}
    return entry("monitor_blind", number, said, **changes)


def test_each_time_is_one_line_from_its_first_tick_to_its_end() -> None:
    timeline = [blind(3, since=30), blind(5, since=30, until=50), blind(8, since=80), blind(9, since=1, run=7)]
    first, second = blindness(timeline, 1)
    assert (first.since, first.until, first.cause, first.reason) == (at(3), at(5), "source_missing", WHY)
    assert (second.since, second.until, second.place.journal_number) == (at(8), None, 8)


def test_an_explanation_tells_of_it_only_where_there_is_something_to_tell() -> None:
    assert "Blind" not in [section.title for section in sections(told(), "stoploss")]
    text = lines_of(told([*STORY, blind(3, since=30), blind(5, since=30, until=50), blind(8, since=80)]), "Blind")
    assert text.count(WHY) == 2
    assert "and not over" in text.splitlines()[1]


def test_a_review_does_not_say_that_all_was_judged() -> None:
    text = markdown(reviewed(experiment(), timeline=[blind(3, since=30), blind(5, since=30, until=50)]))
    assert f"The monitor was blind from 2026-03-01 09:30:03.000 UTC to 2026-03-01 09:30:05.000 UTC: {WHY}." in text
    assert "all rows were judged" not in text
