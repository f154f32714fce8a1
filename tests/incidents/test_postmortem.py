"""G6: what a post-mortem tells, read from the store alone, and what people put into it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stoploss.control.keys import create_keys
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.followup import CasesPromoted, FactorNoted, IncidentOpened, RemedyAgreed, RemedyDone
from stoploss.incidents.containment import Containment
from stoploss.incidents.markdown import contained
from stoploss.signing import Signer
from stoploss.store.client import connect
from tests.cli.conftest import Program
from tests.incidents import world
from tests.timelines import traces

NOW = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def told(clickhouse: EmbeddedClickHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """Address, database and command id of an incident that people have written about."""
    story, database = world.leaked(), "postmortems"
    command_id = next(command.command_id for command in story.commands if command.action == "stop")
    remedy = {"command_id": command_id, "what": "mask | cards", "owner": "ann"}
    story.at += 60_000_000
    for said in (
        IncidentOpened(command_id=command_id, summary="a card number <was> shown"),
        FactorNoted(command_id=command_id, text="no test had a card in it"),
        RemedyAgreed(**remedy, remedy="mask", due=date(2026, 1, 1)),
        RemedyAgreed(**remedy, remedy="test", due=date(2999, 1, 1)),
        RemedyAgreed(**remedy, remedy="late", due=date(2026, 1, 1)),
        RemedyDone(command_id=command_id, remedy="mask", how="deployed in 7.2"),
        CasesPromoted(command_ids=(command_id,), evaluation_set="leaks", version="3", cases=("case-" + "0" * 16,)),
    ):
        assert world.put_on_record(story, said, by="bo") is None
    refused = IncidentOpened(command_id=command_id, summary="said twice")
    assert world.put_on_record(story, refused) is not None
    client = connect(clickhouse.url, database=database)
    world.record(client, story, Signer.load(create_keys(tmp_path_factory.mktemp("keys")).private), None)
    yield clickhouse.url, database, command_id
    client.close()


@pytest.fixture
def asked(stoploss: Program, told: tuple[str, str, str]) -> Program:
    return stoploss.set(clickhouse_url=told[0], clickhouse_database=told[1])


@pytest.fixture
def document(asked: Program, told: tuple[str, str, str]) -> dict[str, Any]:
    ended = asked("postmortem", told[2][:12], "--json")
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def test_the_timeline_goes_from_the_start_to_the_last_fact_and_is_in_order(document: dict[str, Any]) -> None:
    """G6"""
    moments = [(moment["at"], moment["what"]) for moment in document["timeline"]]
    assert moments == sorted(moments, key=lambda moment: moment[0])
    said = "\n".join(what for _, what in moments)
    links = ["start asked for by ada", "breach: gate pii_exposed was tripped", "stop issued", "flagd/one: applied stop",
             "exposures counted: ", "incident opened by bo", "remedy mask done, says bo: deployed in 7.2"]  # fmt: skip
    places = [said.index(link) for link in links]
    assert places == sorted(places)
    assert "resume" not in said
    assert "said twice" not in said


def test_containment_goes_from_harm_to_the_last_exposure(document: dict[str, Any]) -> None:
    """G6"""
    found = document["containment"]
    times = [found[name] for name in ("first_harm_at", "decided_at", "applied_at")]
    assert times == sorted(times)
    assert found["last_at"] >= found["decided_at"]
    assert found["unanswered"] == []
    late = sum(int(traces(6, seed=seed, tenant="acme").variant.sum()) for seed in (7, 8))
    assert (found["in_flight"], found["after_stop"]) == (late, 0)


def test_remedies_have_owner_date_and_state(document: dict[str, Any]) -> None:
    """G6"""
    found = {remedy["remedy"]: remedy for remedy in document["remedies"]}
    assert list(found) == ["mask", "test", "late"]
    assert {remedy["owner"] for remedy in found.values()} == {"ann"}
    assert (found["mask"]["how"], found["mask"]["overdue"]) == ("deployed in 7.2", False)
    assert [found[name]["overdue"] for name in ("test", "late")] == [False, True]
    assert [found[name]["done_at"] is None for name in found] == [False, True, True]


def test_factors_are_those_of_people_and_those_of_the_record(document: dict[str, Any]) -> None:
    assert {"text": "no test had a card in it", "by": "bo"} in document["factors"]
    assert document["standing"] == "open"
    assert document["promotions"][0]["cases"] == 1


def test_the_page_has_all_of_it_and_quotes_what_people_wrote(asked: Program, told: tuple[str, str, str]) -> None:
    page = asked("postmortem", told[2]).out
    for part in ("# Post-mortem: checkout, stop", "## Containment", "## Timeline", "## Contributing factors",
                 "## Remedies", "## Regression cases"):  # fmt: skip
        assert part in page
    assert "open, opened by bo; 2 of 3 remedies are not done" in page
    assert "a card number \\<was> shown" in page
    assert "| late | mask \\| cards | ann | 2026-01-01 | OVERDUE |" in page
    assert "no target: the spec has no annotation containment-target" in page
    assert "- 1 cases in leaks 3, promoted by bo" in page


def test_the_page_is_written_to_a_file(asked: Program, told: tuple[str, str, str], tmp_path: Path) -> None:
    assert asked("postmortem", told[2], "-o", tmp_path / "p.md").code == 0
    assert (tmp_path / "p.md").read_text().startswith("# Post-mortem: checkout")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--remedy", "mask", "--what", "x"], "--remedy ID needs --what TEXT, --owner NAME and --due DATE"),
        (["--done", "mask"], "--done ID needs --how TEXT"),
        (["--owner", "ann"], "--what, --owner and --due belong to --remedy ID"),
    ],
)
def test_half_a_fact_is_refused_before_anything_is_sent(
    asked: Program, told: tuple[str, str, str], arguments: list[str], said: str
) -> None:
    ended = asked("postmortem", told[2], *arguments)
    assert ended.code == 1
    assert said in ended.sentence


# ---- against the target ----------------------------------------------------------------------------


def containment(**changes: Any) -> Containment:
    known: dict[str, Any] = {
        "first_harm_at": NOW,
        "decided_at": NOW + timedelta(seconds=1),
        "applied_at": NOW + timedelta(seconds=2),
        "last_at": NOW + timedelta(seconds=3),
        "in_flight": 1,
        "after_stop": 1,
        "unanswered": (),
        "target_ms": None,
        "target_fault": None,
    }
    return Containment(**{**known, **changes})


@pytest.mark.parametrize(
    ("changes", "within", "said"),
    [
        ({"target_ms": 3_000.0}, True, "3.00 s from the first harm to the last exposure, within the target of 3.00 s"),
        ({"target_ms": 2_999.0}, False, "BEYOND the target"),
        ({"target_ms": 2_000.0, "first_harm_at": None}, True, "2.00 s from the command (the first harm is not known)"),
        ({"target_ms": 9.0, "last_at": None}, None, "is not counted yet"),
        ({"target_fault": "the annotation cannot be read"}, None, "the annotation cannot be read"),
    ],
)
def test_containment_is_held_against_the_target_of_the_spec(
    changes: dict[str, Any], within: bool | None, said: str
) -> None:
    """G6"""
    found = containment(**changes)
    assert found.within_target is within
    assert said in contained(found)
