"""One unit's rows in ClickHouse: found, counted, and deleted for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

OF_UNITS = ("traces", "shadow_traces")
_TRACES = " UNION ALL ".join(f"SELECT trace_id FROM {table} WHERE unit_id = {{unit:String}}" for table in OF_UNITS)
HOLDS = {
    # The bytes of a dead letter were never read, so an id is looked for wherever it may stand in them.
    "dead_letters": (
        "(position(value, {unit:String}) > 0 OR position(ifNull(key, ''), {unit:String}) > 0 OR "
        "arrayExists(id -> notEmpty(id) AND position(value, id) > 0, {trace_ids:Array(String)}))"
    ),
    "outcomes": "(unit_id = {unit:String} OR has({trace_ids:Array(String)}, trace_id))",
    **dict.fromkeys(OF_UNITS, "unit_id = {unit:String}"),
}
"""Condition of the rows of a unit by table, in the order of deletion: traces last, for they lead to the others."""


@dataclass(frozen=True, slots=True)
class OfUnit:
    """What ClickHouse has of a unit.

    rows         by table, copies of a row included
    experiments  that its traces and outcomes were assigned to
    """

    unit: str
    trace_ids: tuple[str, ...]
    rows: dict[str, int]
    experiments: tuple[str, ...]


def find(client: Client, unit: str) -> OfUnit:
    trace_ids = tuple(sorted({str(row[0]) for row in client.query(_TRACES, parameters={"unit": unit}).result_rows}))
    where = {"unit": unit, "trace_ids": list(trace_ids)}
    rows = {table: _count(client, table, where) for table in HOLDS}
    assigned = " UNION DISTINCT ".join(
        f"SELECT arrayJoin(assignments.experiment) AS experiment FROM {table} WHERE {HOLDS[table]}"
        for table in (*OF_UNITS, "outcomes")
    )
    experiments = sorted(str(row[0]) for row in client.query(assigned, parameters=where).result_rows)
    return OfUnit(unit, trace_ids, rows, tuple(experiments))


def delete(client: Client, found: OfUnit) -> dict[str, int]:
    """Deletes the rows and waits until every part was written anew; gives what is left, which came in meanwhile."""
    where = {"unit": found.unit, "trace_ids": list(found.trace_ids)}
    for table in [table for table, rows in found.rows.items() if rows]:
        client.command(f"ALTER TABLE {table} DELETE WHERE {HOLDS[table]}", where, settings={"mutations_sync": 2})
    return {table: _count(client, table, where) for table in HOLDS}


def _count(client: Client, table: str, where: Mapping[str, Sequence[str]]) -> int:
    return int(
        client.query(f"SELECT count() FROM {table} WHERE {HOLDS[table]}", parameters=dict(where)).result_rows[0][0]
    )


def tables_without(tables: Sequence[str]) -> list[str]:
    """Those that hold nothing of a unit but hashes, or nothing at all."""
    return [table for table in tables if table not in HOLDS]
