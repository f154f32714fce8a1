"""sets.sql: sets count each trace once, however it was inserted, and give what the traces themselves give."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from stoploss.store import inserts, schema
from stoploss.store.arrow import clean_to_bytes
from tests.store import samples

FATE = "if(isNull(quarantined), 'judged', replaceRegexpAll(quarantined, '(at = -?\\\\d+|\\\\d+ s) ', ''))"
LACKS = "empty(assignments) + 2 * isNull(latency_ms) + 4 * isNull(cost_usd) + 8 * isNull(output_tokens)"
OF_TRACES = {
    "trace_minutes_v": f"SELECT toStartOfMinute(broker_at) AS minute, service, {FATE} AS fate, {LACKS} AS lacks, "
    "count() FROM traces_v GROUP BY ALL ORDER BY ALL",
    "experiment_minutes_v": "SELECT toStartOfMinute(broker_at) AS minute, arrayJoin(assignments.experiment) AS name, "
    "count() FROM traces_v GROUP BY ALL ORDER BY ALL",
}
"""The same numbers, counted trace by trace."""
OVERLAPPING = (range(70), range(40, 130), range(30), range(60, 200), range(25, 26))


def frame(offsets: Sequence[int]) -> pl.DataFrame:
    """Of 200 traces: a third without latency, some of another experiment, two of a partition's far end."""
    traces = samples.traces_frame(offsets)
    other = samples.traces_frame(offsets, "search-ranking")["assignments"]
    place = pl.col("offset")
    return traces.with_columns(
        latency_ms=pl.when(place % 3 > 0).then(pl.col("latency_ms")),
        assignments=pl.when(place % 7 > 0).then(pl.col("assignments")).otherwise(other),
        quarantined=pl.when(place % 5 == 2).then(pl.format("at = {} is {} s ahead of it", place * 1_000, place)),
        offset=pl.when(place % 97 == 96).then(place + 2**32).otherwise(place),
    )


def insert(client: Client, pieces: Sequence[Sequence[int]]) -> None:
    """Each piece an insert of its own, as a recorder's is that began again somewhere else."""
    for piece in pieces:
        records = samples.stored("traces_clean", [clean_to_bytes(frame(piece))])
        inserts.insert(client, inserts.encode(inserts.CLEAN, records))


def counted(client: Client, view: str) -> list[tuple[object, ...]]:
    *keys, traces = [row[0] for row in client.query(f"DESCRIBE TABLE {view}").result_rows]
    keys_sql = ", ".join(keys)
    sql = f"SELECT {keys_sql}, sum({traces}) FROM {view} GROUP BY {keys_sql} ORDER BY {keys_sql}"
    return [tuple(row) for row in client.query(sql).result_rows]


@pytest.fixture(scope="module")
def once(database: Callable[[str], Client]) -> Client:
    client = database("sets_once")
    insert(client, [range(200)])
    return client


@pytest.fixture(scope="module", params=["twice", "overlapping"])
def again(database: Callable[[str], Client], request: pytest.FixtureRequest) -> Client:
    """The same traces, inserted twice or in pieces that overlap; no copy is merged."""
    client = database(f"sets_{request.param}")
    for table in ("traces", "trace_minutes", "trace_delays", "experiment_minutes"):
        client.command(f"SYSTEM STOP MERGES {table}")
    insert(client, [range(200), range(200)] if request.param == "twice" else OVERLAPPING)
    return client


@pytest.mark.parametrize("view", ["trace_minutes_v", "trace_delays_v", "experiment_minutes_v"])
def test_a_set_counts_a_trace_once_that_was_inserted_again(once: Client, again: Client, view: str) -> None:
    copies = "SELECT count() FROM traces"
    assert again.query(copies).first_row[0] > once.query(copies).first_row[0] == 200
    assert counted(again, view) == counted(once, view)


@pytest.mark.parametrize("view", OF_TRACES)
def test_sets_give_what_the_traces_give(again: Client, view: str) -> None:
    assert counted(again, view) == [tuple(row) for row in again.query(OF_TRACES[view]).result_rows]


def test_a_merge_changes_no_count(database: Callable[[str], Client], once: Client) -> None:
    client = database("sets_merged")
    insert(client, OVERLAPPING)
    client.command("OPTIMIZE TABLE trace_minutes FINAL")
    assert counted(client, "trace_minutes_v") == counted(once, "trace_minutes_v")


def test_the_numbers_in_a_reason_make_no_fates_of_their_own(once: Client) -> None:
    """A sender with a broken clock would otherwise make a series for each trace."""
    fates = once.query("SELECT DISTINCT fate FROM trace_minutes_v ORDER BY fate").result_rows
    assert fates == [("is ahead of it",), ("judged",)]


@pytest.mark.parametrize(
    ("late_micros", "delay"),
    [(0, 0), (999, 0), (1_000, 1), (1_999, 1), (2_000, 5), (60_000_000, 64), (-4_000_000, -48)],
)
def test_a_delay_is_counted_in_quarters_of_a_doubling(
    database: Callable[[str], Client], late_micros: int, delay: int
) -> None:
    """4 · log2(60,000 ms) = 63.5, and of 4,000 ms 47.9."""
    client = database("sets_delays")
    client.command("TRUNCATE TABLE trace_delays")
    late = samples.traces_frame([0]).with_columns(broker_at=pl.col("at") + late_micros)
    inserts.insert(client, inserts.encode(inserts.CLEAN, samples.stored("traces_clean", [clean_to_bytes(late)])))
    assert client.query("SELECT delay, traces FROM trace_delays_v").result_rows == [(delay, 1)]


def test_traces_from_before_the_sets_are_added_by_the_select_of_what_feeds_them(
    database: Callable[[str], Client], once: Client
) -> None:
    """Run twice: docs/upgrades.md says that it does no harm."""
    client = database("sets_upgraded")
    insert(client, [range(200)])
    for fed in [text for text in schema.statements(schema.SETS) if text.startswith("CREATE MATERIALIZED")]:
        table = fed.partition(" TO ")[2].split()[0]
        select = fed.partition("DEFINER AS\n")[2]
        client.command(f"TRUNCATE TABLE {table}")
        for _ in range(2):
            client.command(f"INSERT INTO {table} {select}")
        assert counted(client, f"{table}_v") == counted(once, f"{table}_v")
