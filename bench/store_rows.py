"""Fills the tables of ClickHouse for bench/store.py: store_rows.sql says with what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client

EXPERIMENTS, ARM_ROWS, VERDICT_ROWS = 20, 290, 92
"""As store_rows.sql makes them: the rows of one measure of an experiment."""
PARTS = 20
"""Inserts that each table is filled by, so that it has parts to merge."""


@dataclass(frozen=True, slots=True)
class Filling:
    """share: rows, as a part of those of the largest tables; of_measure: rows of all experiments' measures at once."""

    share: float
    of_measure: int = 1


FILLINGS: dict[str, Filling] = {
    "traces": Filling(1.0),
    "measures_arms": Filling(1.0, ARM_ROWS * EXPERIMENTS),
    "measures_verdicts": Filling(1.0, VERDICT_ROWS * EXPERIMENTS),
    "journal": Filling(0.1),
    "commands": Filling(0.001),
    "registry": Filling(0.001),
    "dead_letters": Filling(0.01),
}


def statements() -> dict[str, str]:
    """The insert of each table."""
    lines = Path(__file__).with_suffix(".sql").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("--"))
    found = [statement.strip() for statement in text.split(";\n") if statement.strip()]
    return {statement.split()[2]: statement for statement in found}


def parameters(table: str, rows: int, now_s: int) -> Iterator[dict[str, int]]:
    """Of each insert that fills a table; its rows end at now_s."""
    filling = FILLINGS[table]
    total = max(EXPERIMENTS, int(rows * filling.share))
    each = -(-total // PARTS)
    for begin in range(0, total, each):
        count = min(each, total - begin)
        measures = -(-total // filling.of_measure)
        yield {"begin": begin, "rows": count, "total": total, "measures": measures, "now": now_s}


def fill(client: Client, table: str, rows: int, now_s: int) -> int:
    """Rows that the table has then."""
    statement = statements()[table]
    for chosen in parameters(table, rows, now_s):
        client.command(statement, parameters=chosen)
    return int(client.query(f"SELECT count() FROM {table}").result_rows[0][0])
