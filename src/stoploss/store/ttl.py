"""Retention as ClickHouse's TTL: it deletes rows by itself when it merges, and nobody else has to be allowed to."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from clickhouse_connect.driver.client import Client

from stoploss.retention import USUAL_S, Kept, shortest_s
from stoploss.store.schema import is_there

OF_EXPERIMENTS = ("traces", "shadow_traces", "outcomes")
"""Tables whose rows say to which experiments they belong."""
DEAD_LETTERS_S = 7 * 86_400
_SHOW = "SELECT create_table_query FROM system.tables WHERE database = {database:String} AND name = {table:String}"


def clauses(experiments: Sequence[Kept]) -> list[str]:
    """The TTL of traces and outcomes. A row of two experiments goes with the shorter, but for an open incident."""
    held = _names(one.experiment for one in experiments if one.held)
    alike: dict[int, list[str]] = defaultdict(list)
    for one in experiments:
        if one.seconds != USUAL_S:
            alike[one.seconds].append(one.experiment)
    others = _names(name for names in alike.values() for name in names)
    found = [
        f"stored_at + toIntervalSecond({seconds}) DELETE WHERE {_of(_names(alike[seconds]))}{_not_held(held)}"
        for seconds in sorted(alike)
    ]
    # Whatever has an experiment that is kept as usual, or none, goes as usual.
    usual = f"NOT (notEmpty(assignments) AND hasAll({others}, assignments.experiment))"
    return [*found, f"stored_at + toIntervalSecond({USUAL_S}) DELETE WHERE {usual}{_not_held(held)}"]


def wanted(experiments: Sequence[Kept]) -> dict[str, str]:
    """The TTL of each table that holds data of people, as ClickHouse takes it."""
    of_experiments = ", ".join(clauses(experiments))
    letters = f"stored_at + toIntervalSecond({shortest_s(experiments, DEAD_LETTERS_S)})"
    return {**dict.fromkeys(OF_EXPERIMENTS, of_experiments), "dead_letters": letters}


def differing(client: Client, experiments: Sequence[Kept]) -> list[str]:
    """Tables that have another TTL; none before the recorder has made the database."""
    if not is_there(client):
        return []
    return [table for table, ttl in wanted(experiments).items() if not _has(client, table, ttl)]


def apply(client: Client, experiments: Sequence[Kept], tables: Iterable[str]) -> None:
    """ClickHouse deletes what is over by now before this returns."""
    for table in tables:
        client.command(f"ALTER TABLE {table} MODIFY TTL {wanted(experiments)[table]}", settings={"mutations_sync": 2})


def _has(client: Client, table: str, ttl: str) -> bool:
    """Whether it has that TTL already; ClickHouse writes it in its own way. A table that is not made yet is empty."""
    where = {"database": client.database, "table": table}
    found = client.query(_SHOW, parameters=where).result_rows
    if not found:
        return True
    _, _, now = _plain(str(found[0][0])).partition("TTL")
    return now.partition("SETTINGS")[0] == _plain(ttl)


def _plain(sql: str) -> str:
    """Without what ClickHouse adds or leaves out: blanks, brackets, and the word that is meant anyway."""
    return re.sub(r"[\s()`]|\bDELETE\b", "", sql)


def _names(experiments: Iterable[str]) -> str:
    return f"[{', '.join(_quoted(sorted(experiments)))}]"


def _quoted(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        escaped = name.replace("\\", "\\\\").replace("'", "\\'")
        yield f"'{escaped}'"


def _of(names: str) -> str:
    return f"hasAny({names}, assignments.experiment)"


def _not_held(names: str) -> str:
    return f" AND NOT {_of(names)}" if names != "[]" else ""
