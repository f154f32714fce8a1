"""G6: an incident is open until a person closes it, and not closed while a remedy is; the judge has the last word."""

from __future__ import annotations

import io
from datetime import date

import pytest
from rich.console import Console

from stoploss import followup
from stoploss.followup import (
    CasesDeclined,
    FactorNoted,
    IncidentClosed,
    IncidentOpened,
    OpenIncident,
    RemedyAgreed,
    RemedyDone,
    Said,
)
from stoploss.ledger import Request
from stoploss.review.overview import status_of
from stoploss.review.tables import status_table
from streams.registrar import opinion
from tests.incidents.world import leaked, put_on_record
from tests.timelines import Timeline, spec

ID, OTHER = "a" * 64, "b" * 64
OPENED = IncidentOpened(command_id=ID, summary="a card number was shown")
CLOSED = IncidentClosed(command_id=ID, conclusion="masked since")
DONE = RemedyDone(command_id=ID, remedy="mask", how="deployed")


def agreed(remedy: str = "mask", command_id: str = ID) -> RemedyAgreed:
    return RemedyAgreed(command_id=command_id, remedy=remedy, what="mask cards", owner="ann", due=date(2026, 12, 1))


@pytest.fixture
def story() -> Timeline:
    return leaked()


def test_an_open_incident_stands_in_the_registry_until_it_is_closed(story: Timeline) -> None:
    assert story.registry()[-1].open_incidents == ()
    assert put_on_record(story, OPENED) is None
    assert story.registry()[-1].open_incidents == (ID,)
    assert put_on_record(story, CLOSED) is None
    assert story.registry()[-1].open_incidents == ()


def test_status_shows_an_open_incident(story: Timeline) -> None:
    put_on_record(story, OPENED)
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(status_table([status_of(story.registry()[-1], date(2026, 3, 1))]))
    assert "incident open: aaaaaaaaaaaa" in console.export_text()


def test_an_incident_is_not_closed_while_a_remedy_is_open(story: Timeline) -> None:
    put_on_record(story, OPENED)
    put_on_record(story, agreed())
    assert put_on_record(story, CLOSED) == "remedies are not done: mask; say of each what was done with --done"
    assert story.registry()[-1].open_incidents == (ID,)
    assert put_on_record(story, DONE) is None
    assert put_on_record(story, CLOSED) is None


def test_an_open_incident_survives_a_new_run_and_a_new_spec(story: Timeline) -> None:
    put_on_record(story, OPENED)
    story.ask("stop")
    for controller in story.experiment.spec.assignment.controllers:
        story.ack(controller)
    story.spec_text = spec("segments: [tenant]")
    story.ask("amend", reason="by tenant")
    assert story.registry()[-1].lifecycle == "registered"
    assert story.registry()[-1].open_incidents == (ID,)


@pytest.mark.parametrize(
    ("before", "said", "why"),
    [
        ([], CLOSED, "no incident of command aaaaaaaaaaaa is open"),
        ([], FactorNoted(command_id=ID, text="no test"), "no incident of command"),
        ([OPENED], OPENED, "is open already"),
        ([OPENED], agreed(command_id=OTHER), "no incident of command bbbbbbbbbbbb is open"),
        ([OPENED, agreed()], agreed(), "a remedy 'mask' is open already"),
        ([OPENED], DONE, "no remedy 'mask' is open; open are: none"),
    ],
)
def test_what_contradicts_the_record_is_refused(story: Timeline, before: list[Said], said: Said, why: str) -> None:
    assert [put_on_record(story, one) for one in before] == [None] * len(before)
    assert why in (put_on_record(story, said) or "")


def test_what_is_open_is_bounded() -> None:
    incidents = [OpenIncident(f"{number:064x}") for number in range(followup.MOST_OPEN)]
    assert "no more can be" in (followup.refusal(OPENED, incidents) or "")
    one = [OpenIncident(ID, [str(number) for number in range(followup.MOST_REMEDIES)])]
    assert "no more can be" in (followup.refusal(agreed(), one) or "")


def test_a_fact_that_is_of_no_incident_changes_nothing(story: Timeline) -> None:
    published = len(story.registry())
    assert put_on_record(story, CasesDeclined(command_ids=(ID,), why="the text is not ours to keep")) is None
    assert len(story.registry()) == published


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (None, "the whole"),
        ("{}", "the whole"),
        ('{"kind": "incident_opened", "command_id": "x", "summary": "s"}', "incident_opened.command_id"),
        (followup.written(agreed()).replace("2026-12-01", "soon"), "remedy_agreed.due"),
        ("[" * 100_000, "the whole"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_by_registrar_and_judge_with_the_field(
    story: Timeline, body: str | None, field: str
) -> None:
    asked = Request("r", "checkout", "record", "ada", "", story.at, partition=0, body=body)
    told = opinion(asked)
    assert told.accepted is False
    assert f"({field}" in (told.opinion or "")
    assert field in str(followup.parse(body))


def test_a_record_of_an_experiment_that_nobody_registered_is_refused() -> None:
    story = Timeline()
    story.append(Request("r", "checkout", "record", "ada", "", story.at, accepted=True, body=followup.written(OPENED)))
    assert story.conclusions == []
