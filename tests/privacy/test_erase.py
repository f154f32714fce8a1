"""P3, G6: one person's data is erased, and every decision can still be verified."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from stoploss import followup
from stoploss.archive.reading import read_archive
from stoploss.cli.erasing import fact_of
from stoploss.control.keys import KeyPair, create_keys
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.erasure import packs, stored
from stoploss.erasure.topics import topics_hold
from stoploss.evidence import block_columns
from stoploss.intake.hashing import hash_ids, salted
from stoploss.ledger import EvidenceBlock
from stoploss.signing import Signer
from stoploss.store import inserts, schema
from stoploss.store.arrow import clean_to_bytes
from stoploss.store.client import connect
from stoploss.topics import DAY_MS, SEGMENT_MS, TOPICS, Names
from tests.cli.conftest import Program, stoploss
from tests.incidents import world
from tests.store import samples
from tests.timelines import Timeline

__all__ = ["stoploss"]
DATABASE = "erasure"
PERSON, OTHER = "person-7f3a", "person-c41b"
SECRET = b"s" * 32


@pytest.fixture(scope="module")
def story() -> Timeline:
    return world.leaked()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return create_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def client(story: Timeline, keys: KeyPair, clickhouse: EmbeddedClickHouse) -> Iterator[Client]:
    """Two of twenty stored traces were evidence of harm. One is the person's, all others are somebody else's."""
    found = connect(clickhouse.url, database=DATABASE)
    world.record(found, story, Signer.load(keys.private), whose(story))
    scores = samples.outcomes_frame(range(2)).with_columns(
        pl.Series("trace_id", [trace_id(story), "t-9999"]), pl.Series("unit_id", [None, OTHER], pl.String)
    )
    inserts.insert(found, inserts.encode("traces_clean", samples.stored("more", [clean_to_bytes(scores, "outcomes")])))
    cut = "INSERT INTO dead_letters (reason, offset, value) VALUES ('cut', 1, {a:String}), ('cut', 2, {b:String})"
    found.command(cut, {"a": f'{{"unit_id": "{PERSON}", "out', "b": f'{{"unit_id": "{OTHER}", "out'})
    yield found
    found.close()


def trace_id(story: Timeline) -> str:
    return f"t-{world.leaking_offsets(story)[0]}"


def whose(story: Timeline) -> pl.DataFrame:
    mine = pl.col("trace_id") == trace_id(story)
    return world.frame().with_columns(unit_id=pl.when(mine).then(pl.lit(PERSON)).otherwise(pl.lit(OTHER)))


@pytest.fixture
def asked(stoploss: Program, client: Client, clickhouse: EmbeddedClickHouse) -> Program:
    return stoploss.set(clickhouse_url=clickhouse.url, clickhouse_database=DATABASE)


def traces_in(pack: Path, name: str = "traces.jsonl") -> set[str]:
    return {json.loads(line)["trace_id"] for line in read_archive(pack).files[name].splitlines()}


def test_a_person_is_erased_and_the_incident_replays_and_verifies(
    asked: Program, client: Client, story: Timeline, keys: KeyPair, tmp_path: Path
) -> None:
    """P3"""
    command = next(one.command_id for one in story.commands if one.action == "stop")
    pack, both = tmp_path / "pack", {f"t-{offset}" for offset in world.leaking_offsets(story)}
    assert asked("incident", command, "-o", pack, "--key", keys.public).code == 0
    assert traces_in(pack) == both

    found = stored.find(client, PERSON)
    assert (found.trace_ids, found.experiments) == ((trace_id(story),), ("checkout", samples.NAME))
    assert found.rows == {"dead_letters": 1, "outcomes": 1, "traces": 1, "shadow_traces": 0}
    assert stored.delete(client, found) == {"dead_letters": 0, "outcomes": 0, "traces": 0, "shadow_traces": 0}
    others = stored.find(client, OTHER)
    assert (others.rows["traces"], others.rows["outcomes"], others.rows["dead_letters"]) == (19, 1, 1)

    assert packs.erase(packs.look(pack, found.trace_ids, hash_in(PERSON)), "2026-11-22") == 1
    for name in ("traces.jsonl", "evidence.jsonl"):
        assert traces_in(pack, name) == both - {trace_id(story)}
    assert b"1 traces of one person were erased on 2026-11-22" in read_archive(pack).files["README.md"]
    for what in (
        ["verify", pack, "--key", keys.public],
        ["replay", pack],
        ["verify", "checkout", "--key", keys.public],
    ):
        ended = asked(*what)
        assert ended.code == 0, ended.err


def test_a_packs_own_ledger_tells_whose_a_trace_was(
    asked: Program, story: Timeline, keys: KeyPair, tmp_path: Path
) -> None:
    """Traces leave the store after their retention; the hashes in the pack's ledger stay."""
    offset = world.leaking_offsets(story)[1]
    unit = unit_at(story, offset)
    command = next(one.command_id for one in story.commands if one.action == "stop")
    pack = tmp_path / "pack"
    assert asked("incident", command, "-o", pack, "--key", keys.public).code == 0
    before = traces_in(pack, "evidence.jsonl")
    assert packs.erase(packs.look(pack, (), hash_in("nobody")), "2026-11-22") == 0
    packs.erase(packs.look(pack, (), lambda _: unit), "2026-11-22")
    assert traces_in(pack, "evidence.jsonl") == before - {f"t-{offset}"}
    assert f"t-{offset}" not in traces_in(pack)


def hash_in(unit: str) -> Callable[[str], int]:
    return lambda experiment: packs.hash_of(unit, experiment, SECRET)


def unit_at(story: Timeline, offset: int) -> int:
    blocks = [entry.fact for entry in story.entries if isinstance(entry.fact, EvidenceBlock)]
    columns = next(c for c in map(block_columns, blocks) if offset in c.offset)
    return int(columns.unit[np.flatnonzero(columns.offset == offset)[0]])


def test_what_is_on_record_has_no_id_and_is_no_hash_of_the_ledger(story: Timeline) -> None:
    """And the judge takes it while an incident is open: the law wins (G6)."""
    fact = fact_of(stored.OfUnit(PERSON, (), {"traces": 3}, ("checkout",)), (), SECRET)
    command = next(one.command_id for one in story.commands if one.action == "stop")
    assert world.put_on_record(story, followup.IncidentOpened(command_id=command, summary="a card was shown")) is None
    assert world.put_on_record(story, fact) is None
    assert PERSON not in followup.written(fact)
    assert fact == fact_of(stored.OfUnit(PERSON, ("t-1",), {"traces": 3}, ()), (), SECRET)
    assert fact.unit != fact_of(stored.OfUnit(OTHER, (), {}, ()), (), SECRET).unit
    unit = hash_ids(pl.Series([PERSON]), "unit", SECRET)
    for hashed in (unit, salted(unit, "checkout", SECRET)):
        assert hashed.tobytes().hex() not in fact.unit


def test_every_table_is_one_that_is_erased_or_has_no_ids() -> None:
    """A new table with a column that leads to a person has to be named."""
    tables = schema.tables()
    leading = {"unit_id", "conversation_id", "trace_id", "input_text", "output_text"}
    assert {name for name, columns in tables.items() if leading & set(columns.names)} == stored.HOLDS.keys() - {
        "dead_letters"
    }
    assert set(stored.tables_without(list(tables))) == tables.keys() - stored.HOLDS.keys()


def test_a_topic_has_forgotten_once_its_segment_is_closed_and_old() -> None:
    """P3"""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    configs = {f"stoploss.{name}": dict(TOPICS[name].config()) for name in ("traces", "ledger", "control")}
    found = {one.topic: one for one in topics_hold(now, Names(), configs)}
    assert found["stoploss.traces"].gone_by == now + timedelta(milliseconds=DAY_MS + SEGMENT_MS)
    assert (found["stoploss.ledger"].holds, found["stoploss.ledger"].gone_by) == ("hashes", None)
    configs["stoploss.traces"]["retention.ms"] = "-1"
    (traces, *_) = topics_hold(now, Names(), configs)
    assert (traces.holds, traces.gone_by) == ("ids", None)
