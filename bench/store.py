"""What ClickHouse takes and gives: python bench/store.py [--rows 10000000] [--repeats 20]

Inserts: rows of traces a second by batch size, as the recorder inserts them, one Arrow batch each.

Panels: each query of each dashboard as Grafana would send it for the span that its page shows at first, with as many
traces and measures as --rows says, made by ClickHouse itself (bench/store_rows.py). The engine is the embedded one, on
the same cores. Its own processor time a query, and a yardstick query in the same run, tell a slow query from a busy
machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from bench import store_rows
from bench.table import RUNS, Table, heading, spread, times
from grafana.pages import PAGES
from grafana.panel import Page, Panel
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.store.client import connect
from stoploss.store.inserts import Batch, insert
from stoploss.store.schema import migrate, tables
from tests.store.grafana_macros import ALL, expand_macros

ROWS, REPEATS = 10_000_000, 20
GOAL_MS = 300
BATCH_ROWS = (100, 1_000, 10_000, 50_000)
INSERTED_ROWS = 200_000
POINTS = 500
"""That a plot is wide: Grafana asks for about as many."""
CHOSEN = {
    "experiment": "experiment-7",
    "dimension": "tenant",
    "value": ALL,
    "metric": "latency_ms",
    "guardrail": "latency_ms",
}
UNITS_S = {"m": 60, "h": 3_600, "d": 86_400}
YARDSTICK = "SELECT sum(sipHash64(number)) FROM numbers(20000000)"
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Took:
    """Of each time a query was sent."""

    clock_ms: list[float]
    cpu_ms: float

    @property
    def p95_ms(self) -> float:
        return statistics.quantiles(self.clock_ms, n=20)[-1]


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def measured(client: Client, pid: int, sql: str, repeats: int) -> Took:
    """Sent once before it counts, as a page that refreshes itself has been."""
    client.query(sql)
    clock_ms, before_s = [], cpu_s(pid)
    for _ in range(repeats):
        began_s = time.perf_counter()
        client.query(sql)
        clock_ms.append((time.perf_counter() - began_s) * 1e3)
    return Took(clock_ms, (cpu_s(pid) - before_s) / repeats * 1e3)


# ---- panels ----------------------------------------------------------------------------------------


def fill(client: Client, rows: int, now_s: int) -> None:
    for table in store_rows.FILLINGS:
        began_s = time.perf_counter()
        counted = store_rows.fill(client, table, rows, now_s)
        print(f"{table}: {counted:,} rows in {time.perf_counter() - began_s:.0f} s", file=sys.stderr, flush=True)


def settle(client: Client) -> None:
    """Until no merge is under way: an hour after the rows came, none would be."""
    while client.query("SELECT count() FROM system.merges").result_rows[0][0]:
        time.sleep(1)


def sent(panel: Panel, page: Page, now_s: int) -> str:
    span_s = int(page.span[:-1]) * UNITS_S[page.span[-1]]
    end = datetime.fromtimestamp(now_s, UTC)
    return expand_macros(
        panel.sql,
        start=end - timedelta(seconds=span_s),
        end=end,
        interval_s=max(span_s // POINTS, 1),
        variables=CHOSEN | {"business": "cost_usd"},
    )


def panels(client: Client, pid: int, now_s: int, repeats: int, only: str) -> Table:
    found = Table(("panel", "rows given", "median ms", "p95 ms", "processor ms", "of the yardstick's"))
    yardstick = measured(client, pid, YARDSTICK, repeats)
    found.add("yardstick", "1", f"{statistics.median(yardstick.clock_ms):,.0f}", *_numbers(yardstick, yardstick))
    for page in PAGES:
        for panel in page.panels:
            name = f"{page.title}: {panel.title}"
            if only not in name:
                continue
            sql = sent(panel, page, now_s)
            given = len(client.query(sql).result_rows)
            took = measured(client, pid, sql, repeats)
            found.add(name, f"{given:,}", f"{statistics.median(took.clock_ms):,.0f}", *_numbers(took, yardstick))
            print(f"{name}: {took.p95_ms:,.0f} ms, {took.cpu_ms:,.0f} ms of processor", file=sys.stderr, flush=True)
    return found


def _numbers(took: Took, yardstick: Took) -> tuple[str, str, str]:
    over = " > goal" if took.p95_ms > GOAL_MS and took is not yardstick else ""
    return f"{took.p95_ms:,.0f}{over}", f"{took.cpu_ms:,.0f}", times(took.cpu_ms / max(yardstick.cpu_ms, 1e-9))


# ---- inserts ---------------------------------------------------------------------------------------


def inserts(client: Client, source: pa.Table) -> Table:
    """Rows a second, one insert after the other; the offsets of each insert follow those of the one before."""
    found = Table(("rows an insert", "rows/s", "ms an insert"))
    placed = 0
    for size in BATCH_ROWS:
        several = max(1, min(20, INSERTED_ROWS // size))
        rates, each_ms = [], []
        for _ in range(RUNS):
            batches = [_placed(source.slice(0, size), placed + size * number) for number in range(several)]
            placed += size * several
            began_s = time.perf_counter()
            for batch in batches:
                insert(client, [batch])
            took_s = time.perf_counter() - began_s
            rates.append(several * size / took_s)
            each_ms.append(took_s / several * 1e3)
        found.add(f"{size:,}", spread(rates), spread(each_ms, 1))
    return found


def _placed(rows: pa.Table, first_offset: int) -> Batch:
    offsets = pa.array(range(first_offset, first_offset + len(rows)), pa.int64())
    return Batch("traces", rows.set_column(rows.schema.get_field_index("offset"), rows.schema.field("offset"), offsets))


def taken(client: Client) -> pa.Table:
    """Stored traces as the recorder would insert them."""
    names = ", ".join(field.name for field in tables()["traces"])
    found = client.query_arrow(f"SELECT {names} FROM traces LIMIT {BATCH_ROWS[-1]}", use_strings=False)
    return found.cast(pa.schema([field.with_nullable(True) for field in tables()["traces"]]))


@contextmanager
def server(directory: Path | None) -> Iterator[EmbeddedClickHouse]:
    with tempfile.TemporaryDirectory() as name, EmbeddedClickHouse(directory or Path(name)) as service:
        yield service


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", default="", help="panels whose page and title hold this text")
    parser.add_argument("--keep", type=Path, help="where the rows are, or are made to stay for a next time")
    given = parser.parse_args()

    with server(given.keep) as service:
        client = connect(service.url, database="bench", answer_timeout_s=3_600)
        migrate(client)
        now_s = _now(client) or int(time.time())
        if not _now(client):
            fill(client, given.rows, now_s)
        settle(client)
        engine = client.query("SELECT version()").result_rows[0][0]
        heading(
            "The store",
            f"Embedded ClickHouse {engine} on the same cores. {given.rows:,} traces, as many rows of measures by arm "
            f"and as many verdicts, {given.rows // 10:,} journal entries.",
            ("chdb", "clickhouse-connect", "pyarrow"),
        )
        if not given.only:
            other = connect(service.url, database="bench_inserts", answer_timeout_s=3_600)
            migrate(other)
            print(f"Inserts of traces, median (least–most) of {RUNS} runs.\n")
            print(inserts(other, taken(client)).markdown() + "\n")
            other.command("DROP DATABASE bench_inserts", use_database=False)
        print(f"Panels, {given.repeats} times each; goal: p95 of {GOAL_MS} ms.\n")
        print(panels(client, service.pid, now_s, given.repeats, given.only).markdown())


def _now(client: Client) -> int:
    """When the rows end that are there already; 0: there are none."""
    found = client.query("SELECT toUnixTimestamp(max(broker_at)) FROM traces").result_rows[0][0]
    return int(found)


if __name__ == "__main__":
    main()
