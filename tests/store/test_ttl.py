"""P3, G6: what is older than an experiment allows is gone, what is not stays, and an open incident holds its evidence.

The clock is moved by the rows: they are stored with the date at which they would have come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from clickhouse_connect.driver.client import Client

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.registry import RegistryEntry
from stoploss.retention import USUAL_S, Kept, kept
from stoploss.store import ttl
from stoploss.store.client import connect
from tests.store import samples
from tests.timelines import SPEC

DAY = 86_400
AGES = (1, 10, 100, 400)
SHORT, USUAL, LONG, HELD = (
    Kept("short", 7 * DAY, held=False),
    Kept("usual", USUAL_S, held=False),
    Kept("long", 365 * DAY, held=False),
    Kept("held", 7 * DAY, held=True),
)
ALL = (SHORT, USUAL, LONG, HELD)


OLD_ROWS = """
INSERT INTO {table:Identifier} (trace_id, offset, assignments, stored_at)
SELECT row.1, rowNumberInAllBlocks(), arrayMap(n -> (n, 'current', NULL, NULL, NULL), row.2),
    now() - toIntervalDay(row.3)
FROM (SELECT arrayJoin(arrayZip({names:Array(String)}, {assigned:Array(Array(String))}, {ages:Array(Int32)})) AS row)
"""
OLD_LETTERS = """
INSERT INTO dead_letters (reason, offset, stored_at)
SELECT concat('letter-', toString(age)), age, now() - toIntervalDay(age)
FROM (SELECT arrayJoin({ages:Array(Int32)}) AS age)
"""


def fill(client: Client) -> None:
    """A trace and an outcome of each experiment at each age, and of two together, and of none; dead letters as well."""
    assigned = [[one.experiment] for one in ALL] + [["short", "long"], ["usual", "long"], ["short", "held"], []]
    rows = [(f"{'+'.join(names)}-{age}", names, age) for names in assigned for age in AGES]
    names, experiments, ages = (list(column) for column in zip(*rows, strict=True))
    for table in ttl.OF_EXPERIMENTS:
        client.command(OLD_ROWS, {"table": table, "names": names, "assigned": experiments, "ages": ages})
    client.command(OLD_LETTERS, {"ages": list(AGES)})


@pytest.fixture
def filled(database: Callable[[str], Client]) -> Client:
    """Made anew for each test: merges of the table's first TTL may delete what a test is about to keep."""
    client = database("retained")
    for table in (*ttl.OF_EXPERIMENTS, "dead_letters"):
        client.command(f"TRUNCATE TABLE {table}")
        client.command(f"ALTER TABLE {table} MODIFY TTL stored_at + INTERVAL 3000 DAY")
    fill(client)
    return client


def retain(client: Client, experiments: Sequence[Kept]) -> list[str]:
    tables = ttl.differing(client, experiments)
    ttl.apply(client, experiments, tables)
    return tables


def ages(client: Client, table: str, column: str = "trace_id") -> dict[str, list[int]]:
    """Ages in days that are still there, by what stands before them in the name."""
    client.command(f"OPTIMIZE TABLE {table} FINAL")
    found: dict[str, list[int]] = {}
    for (name,) in client.query(f"SELECT {column} FROM {table} ORDER BY offset").result_rows:
        whose, _, age = name.rpartition("-")
        found.setdefault(whose, []).append(int(age))
    return found


def test_old_rows_are_gone_and_others_stay(filled: Client) -> None:
    """P3: by the shorter of two experiments, and as usual where none says otherwise. G6: an incident holds."""
    assert retain(filled, ALL) == [*ttl.OF_EXPERIMENTS, "dead_letters"]
    for table in ttl.OF_EXPERIMENTS:
        assert ages(filled, table) == {
            "short": [1],
            "usual": [1, 10],
            "long": [1, 10, 100],
            "held": [1, 10, 100, 400],
            "short+long": [1],
            "usual+long": [1, 10],
            "short+held": [1, 10, 100, 400],
            "": [1, 10],
        }
    assert ages(filled, "dead_letters", "reason") == {"letter": [1]}


def test_what_an_incident_held_goes_once_it_is_closed(filled: Client) -> None:
    """G6"""
    retain(filled, ALL)
    closed = [Kept(one.experiment, one.seconds, held=False) for one in ALL]
    assert retain(filled, closed) == list(ttl.OF_EXPERIMENTS)
    assert ages(filled, "traces")["held"] == [1]


def test_what_is_said_already_is_not_said_again(filled: Client) -> None:
    """It would write every part anew."""
    for experiments in (ALL, [], [USUAL]):
        retain(filled, experiments)
        assert retain(filled, experiments) == []


def test_a_name_is_text_and_no_sql() -> None:
    (clause, _) = ttl.clauses([Kept("a') OR 1=1 --\\", 7 * DAY, held=False)])
    assert "hasAny(['a\\') OR 1=1 --\\\\'], assignments.experiment)" in clause


def test_the_registry_says_how_long_and_which_incidents_are_open() -> None:
    """A spec that cannot be read is kept as usual."""
    spec = f"{SPEC}  privacy: {{retention: 7d}}\n"
    entries = [entry("b", spec, ()), entry("a", spec, ("a" * 64,)), entry("c", "kind: Experiment", ())]
    assert kept(entries) == [Kept("a", 7 * DAY, True), Kept("b", 7 * DAY, False), Kept("c", USUAL_S, False)]


def entry(name: str, spec: str, incidents: tuple[str, ...]) -> RegistryEntry:
    return replace(samples.registry_entry("running", 1, name), spec=spec, open_incidents=incidents)


def test_before_the_recorder_has_made_the_database_nothing_differs(clickhouse: EmbeddedClickHouse) -> None:
    assert ttl.differing(connect(clickhouse.url, database="not_made_yet"), ALL) == []
