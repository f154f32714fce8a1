"""R1: `stoploss shadow` on a real ClickHouse: what it counts, what it compares, and what it refuses."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import pytest

from stoploss import registry
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.store import inserts
from stoploss.store.arrow import clean_to_bytes
from stoploss.store.client import connect
from stoploss.store.schema import migrate
from tests.cli.conftest import Program
from tests.intake.records import AT, NAME, take_in, trace
from tests.store import samples
from tests.timelines import spec

DATABASE, UNREGISTERED, QUIET = "shadow_command", "shadow_unregistered", "quiet"
OF_LIVE = [{"key": "shadow_of", "value": "live"}]


@pytest.fixture(scope="module")
def recorded(clickhouse: EmbeddedClickHouse) -> str:
    """One live request, a copy that ended four minutes before it, and a shadow run that names nobody.

    The spec lets people read the numbers of a single pair; in the other database no spec is stored.
    """
    taken = take_in(
        trace(trace_id="live", at=AT, latency_ms=100.0),
        trace(trace_id="copy", at=AT - 240_000_000, latency_ms=130.0, role="shadow", attributes=OF_LIVE),
        trace(trace_id="alone", at=AT, latency_ms=9_999.0, role="shadow"),
    )
    records = samples.stored("traces_clean", [clean_to_bytes(taken.clean, "traces")])
    single = replace(samples.registry_entry("registered", 2, NAME), spec=spec("privacy: {minimumCell: 1}"))
    known = [registry.encode(entry) for entry in (samples.registry_entry("registered", 1, QUIET), single)]
    for database, entries in ((DATABASE, known), (UNREGISTERED, known[:1])):
        with closing(connect(clickhouse.url, database=database)) as client:
            migrate(client)
            inserts.insert(client, inserts.encode("traces_clean", records))
            inserts.insert(client, inserts.encode("registry", samples.stored("registry", entries)))
    return clickhouse.url


@pytest.fixture
def program(stoploss: Program, recorded: str) -> Program:
    return stoploss.set(clickhouse_url=recorded, clickhouse_database=DATABASE)


def test_shadow_shows_pairs_and_counts_what_is_in_none(program: Program) -> None:
    """R1"""
    ended = program("shadow", NAME)
    assert ended.code == 0
    told = " ".join(ended.out.split())
    assert f"{NAME}: 2 shadow runs, 1 beside their live request, 0 stale (more than 5 min apart), 1 without one" in told
    (row,) = [line for line in ended.out.splitlines() if "latency_ms" in line]
    assert [word for word in row.split() if word.isdigit()] == ["1", "100", "130", "30"]


def test_of_few_pairs_nothing_but_their_number_is_shown(program: Program) -> None:
    """P2"""
    small = program.set(clickhouse_database=UNREGISTERED)
    told = small("shadow", NAME)
    (row,) = [line for line in told.out.splitlines() if "latency_ms" in line]
    assert [word for word in row.split() if word.isalnum()] == ["1", "hidden", "hidden", "hidden"]
    metrics = json.loads(small("shadow", NAME, "--json").out)["metrics"]
    assert {(one["live"], one["shadow"], one["difference"], one["hidden"]) for one in metrics} == {
        (None, None, None, True)
    }


def test_a_shorter_age_makes_the_pair_stale(program: Program) -> None:
    """R1"""
    ended = program("shadow", NAME, "--max-age", "1m", "--json")
    assert json.loads(ended.out) == {"runs": {"runs": 2, "pairs": 0, "stale": 1, "unpaired": 1}, "metrics": []}


def test_without_shadow_runs_the_way_to_the_first_is_shown(program: Program) -> None:
    ended = program("shadow", QUIET)
    assert (ended.code, ended.out) == (
        0,
        f'{QUIET}: no shadow run is stored; services send them with role="shadow" (docs/ramps.md)\n',
    )


def test_an_experiment_that_nobody_registered_is_refused_with_those_that_are_known(program: Program) -> None:
    ended = program("shadow", "nobody")
    assert ended.code == 1
    assert f"no experiment 'nobody' is recorded; known are {NAME}, {QUIET}" in ended.sentence


def test_an_age_that_is_no_duration_is_refused_in_one_sentence(program: Program) -> None:
    ended = program("shadow", NAME, "--max-age", "soon")
    assert ended.code
    assert "--max-age" in ended.sentence
