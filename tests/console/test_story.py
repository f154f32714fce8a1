"""The timeline of a run and the five links of its last stop, from what `explain` reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stoploss.console.story import Link, last_stop, links, timeline
from stoploss.review.blindness import BlindLine
from stoploss.review.chain import AckLine, CommandLine, EpochLine, FindingLine, Place, RequestLine
from stoploss.review.explanation import Explanation
from stoploss.review.lineage import Lineage, TraceRange, TrippedTrace
from stoploss.review.pictures import marks_of
from stoploss.store.rows import ExposuresAfterStop

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def place(number: int) -> Place:
    return Place(0, 100 + number, number, f"entry-{number}")


FOUND = FindingLine(
    at=at(10), epoch=1, rule="gate", metric="pii_exposed", segment=None, verdict="breach", severity="page",
    sentence="gate pii_exposed was tripped", observed=1.0, bound=1.0, n_control=0, n_treatment=1, hidden=False,
    place=place(3),
)  # fmt: skip


def command(action: str, number: int, cause: int, *acks: AckLine) -> CommandLine:
    return CommandLine(
        command_id=f"command-{number}", run=1, epoch=1, sequence=number, action=action, release_variant="a",
        exposure=0.5 if action == "set_exposure" else 0.0, reason=f"{action} because", decided_at=at(10.5),
        place=place(number), cause=f"entry-{cause}", stored=True, stopped_segments=(), controllers=("flagd",),
        dry_run=False, times_sent=1, signed_by="0a1b", acks=acks,
    )  # fmt: skip


APPLIED = AckLine("flagd", "one", "applied", "", at(11), 500.0)
TIPPED = Lineage(
    FOUND.place,
    "evidence_block",
    (TraceRange("traces", "u", 0, 5, 104, 100),),
    (TrippedTrace("traces", "u", 0, 42, "trace-7"),),
)


def told(**parts: object) -> Explanation:
    base = {
        "experiment": "x", "lifecycle": "stopped", "run": 1, "epoch": 1, "exposure": 0.0, "release_variant": "a",
        "stopped_segments": (), "changed_at": at(10.5),
        "requests": (RequestLine(at(0), "r", "start", "ada", True, "go", place(0)),),
        "epochs": (EpochLine(at(1), 1, 0.5, place(2)),), "findings": (FOUND,),
        "commands": (command("set_exposure", 1, 0), command("stop", 4, 3, APPLIED)),
        "exposures": (ExposuresAfterStop("command-4", 7, 2, at(9), at(10.5), at(12)),), "refused": (),
        "lineage": (TIPPED,),
    }  # fmt: skip
    return Explanation(**{**base, **parts})  # type: ignore[arg-type]


def test_the_timeline_is_newest_first_and_evidence_stands_before_its_verdict() -> None:
    kinds = [event.kind for event in reversed(timeline(told()))]
    assert kinds == ["request", "command", "epoch", "evidence", "verdict", "command", "ack", "exposure"]
    evidence = next(event for event in timeline(told()) if event.kind == "evidence")
    assert evidence.sentence == "100 traces of traces, partition 0, offsets 5 to 104"
    assert evidence.details == ("trace trace-7: traces, partition 0, offset 42",)


def test_a_stop_has_five_links_each_with_the_time_since_the_one_before() -> None:
    story = told()
    stop = last_stop(story)
    assert stop is not None
    found = links(story, stop)
    assert [(link.name, link.after_ms, link.is_open) for link in found] == [
        ("Evidence", None, False),
        ("Verdict", 1_000.0, False),
        ("Command", 500.0, False),
        ("Ack", 500.0, False),
        ("Last exposure", 1_000.0, False),
    ]
    assert found[-1] == Link("Last exposure", "7 in flight, 2 begun after", at(12), 1_000.0, False)


def test_what_has_not_happened_yet_is_open() -> None:
    story = told(commands=(command("stop", 4, 3),), exposures=())
    stop = last_stop(story)
    assert stop is not None
    assert [(link.text, link.is_open) for link in links(story, stop)][3:] == [
        ("waiting for flagd", True),
        ("not counted yet", True),
    ]


def test_a_stop_by_a_person_names_the_person() -> None:
    story = told(findings=(), lineage=(), commands=(command("stop", 4, 0, APPLIED),), exposures=())
    stop = last_stop(story)
    assert stop is not None
    assert [link.text for link in links(story, stop)][:2] == ["asked for by ada", "a person decided"]


def test_a_run_without_a_stop_has_none() -> None:
    assert last_stop(told(commands=(command("set_exposure", 1, 0),))) is None


def test_a_hidden_cell_shows_no_number_and_blindness_is_part_of_the_story() -> None:
    hidden = FindingLine(**{**{f: getattr(FOUND, f) for f in FOUND.__slots__}, "hidden": True, "segment": "tenant=x"})
    blind = BlindLine(at(5), None, "silent", "no ticks", place(2))
    events = {event.kind: event for event in timeline(told(findings=(hidden,), blind=(blind,), lineage=()))}
    assert events["verdict"].details == ()
    assert (events["blind"].title, events["blind"].colour) == ("The monitor was blind: not over", "bad")


def test_pictures_mark_epochs_and_what_lowered_exposure() -> None:
    marks = marks_of(told().epochs, told().commands)
    assert [(mark.text, mark.role) for mark in marks] == [
        ("epoch 1, 50 %", "epoch"),
        ("stop", "command"),
    ]


def test_a_throttle_that_was_raised_above_stands_no_more_and_a_stop_does() -> None:
    """A person's ramp ends a throttle by a budget; what was stopped is ended by a new run alone."""
    raised = (command("throttle", 4, 3), command("set_exposure", 5, 0))
    assert last_stop(told(commands=raised[:1])) == raised[0]
    assert last_stop(told(commands=raised)) is None
    stopped = (command("stop", 4, 3), command("set_exposure", 5, 0))
    assert last_stop(told(commands=stopped)) == stopped[0]


def test_an_effect_that_differs_beside_another_experiment_is_a_warning() -> None:
    differs = FindingLine(**{**{f: getattr(FOUND, f) for f in FOUND.__slots__}, "verdict": "differs"})
    events = [event for event in timeline(told(findings=(differs,))) if event.kind == "verdict"]
    assert [event.colour for event in events] == ["warning"]
