"""R1, X4: what the review and the console tell of a ramp: a stage passed, one held, windows that close and open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from stoploss.cli import reading
from stoploss.console.story import Event, last_stop, timeline
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.incidents.subject import lowered
from stoploss.review.document import Review
from stoploss.review.explanation import Explanation
from stoploss.store import inserts, queries
from stoploss.store.client import connect
from stoploss.store.rows import TimelineEntry
from stoploss.store.schema import migrate
from tests.review import stories
from tests.review.test_whole import section_of


@dataclass(frozen=True, slots=True)
class Told:
    review: Review
    explanation: Explanation
    timeline: list[TimelineEntry]

    @property
    def events(self) -> list[Event]:
        """Oldest first."""
        return list(reversed(timeline(self.explanation)))


@pytest.fixture(scope="module")
def told(clickhouse: EmbeddedClickHouse) -> Iterator[Told]:
    with closing(connect(clickhouse.url, database="ramp_told")) as client:
        migrate(client)
        for stream, found in stories.streams_of(stories.ramped()).items():
            inserts.insert(client, inserts.encode(stream, found))
        review, explanation = reading.read_review(client, "checkout"), reading.read_explanation(client, "checkout")
        yield Told(review, explanation, queries.timeline(client, "checkout"))


def test_each_step_of_exposure_is_an_epoch_with_its_share_and_its_time(told: Told) -> None:
    """R1, X4: a stage passed, windows that close, windows that open again, and a person."""
    begin = told.review.epochs[0].at
    seconds = [(line.at - begin).total_seconds() for line in told.review.epochs]
    assert list(zip(seconds, [line.exposure for line in told.review.epochs], strict=True)) == [
        (0, 0.1), (11, 0.3), (60, 0.05), (120, 0.3), (130, 0.6)]  # fmt: skip
    rows = section_of(told.review, "Exposure over time").strip().splitlines()[2:]
    assert [row.split(" | ")[-1] for row in rows] == ["10 % |", "30 % |", "5 % |", "30 % |", "60 % |"]


def test_the_picture_of_exposure_has_each_step_and_a_mark_for_each_epoch(told: Told) -> None:
    """R1"""
    drawn = told.review.drawings.exposure
    assert drawn is not None
    assert drawn.lines[0].values[:5] == (0.1, 0.3, 0.05, 0.3, 0.6)
    assert [mark.text for mark in drawn.marks if mark.role == "epoch"] == [
        "epoch 1, 10 %", "epoch 2, 30 %", "epoch 3, 5 %", "epoch 4, 30 %", "epoch 5, 60 %"]  # fmt: skip


def test_windows_that_close_have_decided_nothing(told: Told) -> None:
    """X4: they have opened again; the first lines do not say that it was throttled, nor does the console."""
    assert told.review.decision.decision == "undecided"
    assert last_stop(told.explanation) is None


def test_what_was_approved_beforehand_stands_among_what_was_preregistered(told: Told) -> None:
    """R1"""
    terms = section_of(told.review, "As preregistered")
    assert "30 % (for 10 s and 5,000 units at least)" in terms
    assert "| the ramp goes on by itself | inside its windows, once every guardrail has a verdict;" in terms


def test_the_consoles_story_says_of_each_step_why(told: Told) -> None:
    """R1, X4"""
    steps = [event for event in told.events if event.kind == "ramp"]
    assert [(event.title, event.sentence.split(":")[0], event.colour) for event in steps] == [
        ("The ramp", "the stage of 0.1 is passed", "quiet"),
        ("The ramp", "the stage of 0.3 is extended", "quiet"),
        ("The ramp", "the stage of 0.3 is held", "warning"),
        ("The windows", "the windows of the spec are closed", "quiet"),
        ("The windows", "the windows are open", "quiet"),
        ("The ramp", "the ramp is held", "quiet"),
    ]
    assert "of 5,000 units have met the treatment; it goes on for up to 15 s more" in steps[1].sentence
    assert "until they open" in steps[3].sentence
    assert steps[4].sentence == "the windows are open: exposure returns from 0.05 to 0.3"


def test_each_step_is_told_before_its_command_and_the_command_before_its_epoch(told: Told) -> None:
    """R1: and a command that only closes the windows for the night is not shown as harm."""
    kinds = [event.kind for event in told.events if event.kind in ("ramp", "command", "epoch")]
    assert kinds == [
        "command", "epoch",
        "ramp", "command", "epoch", "ramp", "ramp",
        "ramp", "command", "epoch",
        "ramp", "command", "epoch", "ramp",
        "command", "epoch",
    ]  # fmt: skip
    commands = [(event.title, event.colour) for event in told.events if event.kind == "command"]
    assert ("Command: throttle to 5 %", "quiet") in commands
    assert {colour for _, colour in commands} == {"quiet"}
    assert not [event for event in told.events if event.kind in ("evidence", "verdict")]


def test_windows_that_close_are_no_harm_to_make_cases_of(told: Told) -> None:
    """X7: night after night they would crowd out what was."""
    assert lowered(told.timeline, ()) == []
