"""P3, G6: `erase` and `retention` on the running installation: each place is named, and decisions stay verifiable."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stoploss.archive.reading import read_archive
from stoploss.cli.erasing import ERASED, GOES, KEPT, PACKS, RECORDED, fact_of
from stoploss.control.keys import load_or_create_secret
from stoploss.erasure import stored
from stoploss.followup import UnitErased, parse
from stoploss.ledger import Request
from stoploss.lifecycle import Lifecycle
from stoploss.store import ttl
from stoploss.topics import DAY_MS, TOPICS
from streams.admin import Admin
from tests.cli.conftest import Program
from tests.cli.test_after_harm import CARD, client_of
from tests.cli.test_after_harm import NAME as AFTER_HARM
from tests.cli.test_after_harm import SPEC as SPEC_AFTER_HARM
from tests.cli.test_sending import lifecycle, wait_for_epoch, written
from tests.cli.test_verifying import is_recorded
from tests.installation import Installation, appending, facts_of, values

NAME, UNHEARD_OF = "erasure", "unheard-of"
SPEC = f"{SPEC_AFTER_HARM.replace(AFTER_HARM, NAME)}  privacy: {{retention: 7d}}\n"
PERSON, OTHER = "person-7f3a", "person-c41b"
OF_PERSON = {"dead_letters": 1, "outcomes": 1, "traces": 2, "shadow_traces": 1}
NOTHING = dict.fromkeys(OF_PERSON, 0)


def trace(trace_id: str, unit: str, variant: str, output: str, experiment: str = NAME, **more: str) -> str:
    assigned = [{"experiment": experiment, "variant": variant}]
    said = {"unit_id": unit, "input_text": f"my card? {trace_id}", "output_text": output, "assignments": assigned}
    return json.dumps({"trace_id": trace_id, "at": datetime.now(UTC).isoformat(), **said, **more})


def outcome() -> str:
    scored = {"trace_id": "e-2", "kind": "score", "name": "helpfulness", "value": 0.5, "source": "person"}
    context = {"unit_id": PERSON, "assignments": [{"experiment": NAME, "variant": "small"}]}
    return json.dumps({**scored, "at": datetime.now(UTC).isoformat(), **context})


def rows_of(installation: Installation, unit: str) -> dict[str, int]:
    return stored.find(client_of(installation), unit).rows


@pytest.fixture(scope="module")
def stop(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two people saw a card; of one there is more: an outcome, a shadow run, a dead letter, a trace of nobody's.

    Gives the id of the command that stopped it.
    """
    from stoploss.cli import asking, sending

    directory, settings = tmp_path_factory.mktemp("erasure"), installation.settings
    asking.send(settings, asking.request_of("register", NAME, "", spec=SPEC))
    asking.send(settings, asking.request_of("start", NAME, ""))
    wait_for_epoch(installation, NAME)
    sent = [
        trace("e-1", OTHER, "current", "hello"),
        trace("e-2", PERSON, "small", CARD),
        trace("e-3", OTHER, "small", CARD),
        trace("e-4", PERSON, "small", "hello", UNHEARD_OF),
        trace("e-5", PERSON, "small", "hello", role="shadow"),
    ]
    sending.emit(settings, written(directory / "traces.jsonl", *sent))
    appender = appending(settings)
    appender.append(settings.topics("traces"), trace("e-6", PERSON, "small", "cut")[:-9].encode())
    appender.append(settings.topics("outcomes"), outcome().encode())
    appender.flush()
    installation.wait(lambda: lifecycle(installation, NAME) == Lifecycle.STOPPED)
    installation.wait(lambda: rows_of(installation, PERSON) == OF_PERSON)
    installation.wait(lambda: rows_of(installation, OTHER)["traces"] == 2 and is_recorded(settings, NAME))
    stops = "SELECT command_id FROM commands_v WHERE experiment = {name:String} AND action = 'stop'"
    ((found,),) = set(client_of(installation).query(stops, parameters={"name": NAME}).result_rows)
    return str(found)


def retained(live: Program, *arguments: str, code: int = 0) -> dict[str, Any]:
    ended = live("retention", "--json", *arguments)
    assert ended.code == code, ended.err
    return dict(json.loads(ended.out))


def test_what_is_older_than_its_spec_allows_is_gone_unless_an_incident_holds_it(
    live: Program, installation: Installation, stop: str
) -> None:
    """P3, G6: the clock is moved by a row, which is stored with a date of eight days ago."""
    client, settings = client_of(installation), installation.settings
    client.command(
        "INSERT INTO traces (trace_id, offset, assignments, stored_at) "
        f"VALUES ('old', 1, [('{NAME}', 'small', NULL, NULL, NULL)], now() - toIntervalDay(8))"
    )
    left = "SELECT trace_id FROM traces WHERE has(assignments.experiment, {name:String}) ORDER BY trace_id"

    assert live("postmortem", stop, "--open", "a card was shown").code == 0
    installation.wait(lambda: retained(live, "--check", code=3)["experiments"] and is_recorded(settings, NAME))
    first = retained(live)
    assert {"experiment": NAME, "seconds": 7 * 86_400, "held": True} in first["experiments"]
    assert first["tables"] == [*ttl.OF_EXPERIMENTS, "dead_letters"]
    assert client.query(left, parameters={"name": NAME}).result_rows == [("e-1",), ("e-2",), ("e-3",), ("old",)]

    assert live("postmortem", stop, "--close", "masked").code == 0
    ended = live("retention")
    assert f"{NAME}: traces and outcomes stay 7 days\n" in ended.out
    assert "changed: tables traces, shadow_traces, outcomes; topics none" in ended.out
    assert client.query(left, parameters={"name": NAME}).result_rows == [("e-1",), ("e-2",), ("e-3",)]
    assert retained(live, "--check")["tables"] == []
    kept_ms = {name: Admin(settings.need_kafka()).configs(settings.topics(name))["retention.ms"] for name in TOPICS}
    with_ids = {name: ms for name, ms in kept_ms.items() if TOPICS[name].holds == "ids"}
    assert max(map(int, with_ids.values())) <= 7 * DAY_MS
    assert kept_ms["ledger"] == "-1"


def test_retention_that_goes_on_mends_what_differs_and_runs_until_it_is_ended(
    live: Program, installation: Installation, stop: str
) -> None:
    """P3: as `stoploss up` and the compose file run it."""
    client_of(installation).command("ALTER TABLE dead_letters MODIFY TTL stored_at + toIntervalSecond(864000)")
    role = installation._start("retention", ("retention", "--every", "1h"))
    installation.wait(lambda: "changed: tables dead_letters; topics none" in role.said)
    assert retained(live, "--check")["tables"] == []
    assert role.running
    assert role.stop() == -signal.SIGTERM


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--every", "soon"], "--every: 'soon' is no duration"),
        (["--every", "5s"], "--every: '5s' is less than 60 s"),
        (["--every", "1h", "--check"], "leave out --check and --json"),
    ],
)
def test_a_rest_that_cannot_be_is_refused_in_a_sentence(live: Program, arguments: list[str], why: str) -> None:
    ended = live("retention", *arguments)
    assert ended.code == 1
    assert why in ended.sentence


def lines_of(pack: Path, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in read_archive(pack).files[name].splitlines()]


def test_a_person_is_erased_and_every_decision_can_still_be_verified(
    live: Program, installation: Installation, stop: str, tmp_path: Path
) -> None:
    """P3; and G6: an incident is open, but the law wins."""
    settings, key = installation.settings, installation.settings.keys / "monitor.pub"
    assert live("postmortem", stop, "--open", "a card was shown").code == 0
    installation.wait(lambda: is_recorded(settings, NAME))
    pack, archive = tmp_path / "pack", tmp_path / "erasure.tar"
    assert live("incident", stop, "-o", pack).code == 0
    assert live("archive", NAME, "-o", archive).code == 0
    assert {one["trace_id"] for one in lines_of(pack, "traces.jsonl")} == {"e-2", "e-3"}

    ended = live("erase", "--unit", PERSON, "--pack", pack, "--pack", archive, "--json")
    assert ended.code == 0, ended.err
    places = {one["place"]: (one["did"], one["words"]) for one in json.loads(ended.out)}

    assert rows_of(installation, PERSON) == NOTHING
    assert rows_of(installation, OTHER)["traces"] == 2
    for table, rows in OF_PERSON.items():
        assert places[f"ClickHouse {table}"] == (ERASED, f"{rows} rows")
    assert places[f"incident pack {pack}"] == (ERASED, "1 traces; it still replays")
    assert places[f"archive {archive}"][0] == KEPT
    assert places[f"record of {NAME}"][0] == RECORDED
    assert places[f"record of {UNHEARD_OF}"][0] == KEPT
    every_topic_is_named(installation, places)
    assert {one["trace_id"] for name in ("traces.jsonl", "evidence.jsonl") for one in lines_of(pack, name)} == {"e-3"}
    assert "1 traces of one person were erased" in read_archive(pack).files["README.md"].decode()

    installation.wait(lambda: is_recorded(settings, NAME))
    for arguments in (["verify", NAME], ["verify", pack, "--key", key], ["verify", archive, "--key", key]):
        verified = live(*arguments)
        assert verified.code == 0, verified.err
    for what in (NAME, pack, archive):
        replayed = live("replay", what)
        assert replayed.code == 0, replayed.err
    it_is_on_record(installation)


def every_topic_is_named(installation: Installation, places: dict[str, tuple[str, str]]) -> None:
    topics = {topic.name: places[f"topic {installation.settings.topics(topic.name)}"] for topic in TOPICS.values()}
    did = {"ids": GOES, "hashes": KEPT, "nothing": KEPT}
    assert {name: said[0] for name, said in topics.items()} == {t.name: did[t.holds] for t in TOPICS.values()}
    assert "is gone by 20" in topics["deadletter"][1]


def it_is_on_record(installation: Installation) -> None:
    """By a hash that who has the id and the secret can make again; the id is in no topic that keeps what it has."""
    settings = installation.settings
    requests = [one for one in facts_of(settings) if isinstance(one, Request) and one.experiment == NAME]
    (fact,) = [said for one in requests if isinstance(said := parse(one.body), UnitErased)]
    secret = load_or_create_secret(settings.keys / "secret.key")
    assert fact == UnitErased(unit=digest(PERSON, secret), rows={**OF_PERSON, PACKS: 1})
    for topic in (one.name for one in TOPICS.values() if one.holds != "ids"):
        assert not any(PERSON.encode() in value for value in values(settings, topic)), topic


def digest(unit: str, secret: bytes) -> str:
    return fact_of(stored.OfUnit(unit, (), {}, ()), (), secret).unit


def test_a_person_who_is_left_in_a_dead_letter_alone_is_put_on_a_record_of_no_experiment(
    live: Program, installation: Installation, stop: str
) -> None:
    """P3: bytes that nobody could read may be of any experiment."""
    client_of(installation).command(
        "INSERT INTO dead_letters (reason, offset, value) VALUES ('cut', 77, {a:String})",
        {"a": '{"unit_id": "alone-1", '},
    )
    ended = live("erase", "--unit", "alone-1")
    assert ended.code == 0, ended.err
    assert "record of no experiment: recorded: that it was asked for stands in the ledger" in ended.out
    assert recorded_of(installation, "alone-1", "") == {**NOTHING, "dead_letters": 1}
    assert live("replay", NAME).code == 0


def recorded_of(installation: Installation, unit: str, experiment: str) -> dict[str, int]:
    """What the ledger says was found of somebody, by the hash that only the secret makes."""
    secret = load_or_create_secret(installation.settings.keys / "secret.key")
    requests = [one for one in facts_of(installation.settings) if isinstance(one, Request)]
    said = [parse(one.body) for one in requests if one.experiment == experiment and one.accepted]
    (found,) = [one for one in said if isinstance(one, UnitErased) and one.unit == digest(unit, secret)]
    return found.rows


def test_of_somebody_unknown_nothing_is_erased_and_nothing_put_on_record(
    live: Program, installation: Installation, stop: str
) -> None:
    """P3"""
    before = len(values(installation.settings, "experiments"))
    ended = live("erase", "--unit", "nobody-knows-me")
    assert ended.code == 0, ended.err
    assert "ClickHouse traces: erased: 0 rows" in ended.out
    assert "not known here: files that `stoploss cases -o`" in ended.out
    assert len(values(installation.settings, "experiments")) == before


def test_a_pack_that_cannot_be_read_keeps_everything_as_it_was(
    live: Program, installation: Installation, stop: str, tmp_path: Path
) -> None:
    """P3: the rows lead to the traces in a pack, so they go last; and nothing is put on record that was not done."""
    (tmp_path / "pack").mkdir()
    before, asked = rows_of(installation, OTHER), len(values(installation.settings, "experiments"))
    ended = live("erase", "--unit", OTHER, "--pack", tmp_path / "pack")
    assert ended.code
    assert "pack" in ended.sentence
    assert rows_of(installation, OTHER) == before != NOTHING
    assert len(values(installation.settings, "experiments")) == asked


def test_a_person_who_is_left_in_a_pack_alone_is_put_on_the_record_of_its_experiment(
    live: Program, installation: Installation, stop: str, tmp_path: Path
) -> None:
    """P3: their rows are gone from the store, by time or by hand, and the pack still has a trace."""
    pack = tmp_path / "pack"
    assert live("incident", stop, "-o", pack).code == 0
    client_of(installation).command(
        "ALTER TABLE traces DELETE WHERE unit_id = {unit:String}", {"unit": OTHER}, settings={"mutations_sync": 2}
    )
    assert rows_of(installation, OTHER) == NOTHING
    ended = live("erase", "--unit", OTHER, "--pack", pack, "--json")
    assert ended.code == 0, ended.err
    places = {one["place"]: (one["did"], one["words"]) for one in json.loads(ended.out)}
    assert places[f"incident pack {pack}"] == (ERASED, "1 traces; it still replays")
    assert places[f"record of {NAME}"][0] == RECORDED
    assert recorded_of(installation, OTHER, NAME) == {**NOTHING, PACKS: 1}
