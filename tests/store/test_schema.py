"""tables.sql: the promises that every table keeps."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from clickhouse_connect.driver.client import Client

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.errors import ConfigurationError
from stoploss.store import schema
from stoploss.store.client import connect
from stoploss.store.positions import POSITION_TABLE

TABLES = sorted(schema.tables())
SETS = ("experiment_minutes", "trace_delays", "trace_minutes")


def statement(table: str) -> str:
    return next(text for text in schema.statements() if text.startswith(f"CREATE TABLE IF NOT EXISTS {table}\n"))


def columns(client: Client, table: str) -> list[str]:
    described = client.query("DESCRIBE TABLE {table:Identifier}", parameters={"table": table})
    return [str(row[0]) for row in described.result_rows]


def test_migrating_twice_leaves_every_table_and_view_as_it_was(database: Callable[[str], Client]) -> None:
    client = database("migrated")
    listed = "SELECT name, create_table_query FROM system.tables WHERE database = 'migrated' ORDER BY name"
    before = client.query(listed).result_rows
    client.command("INSERT INTO clean_batches (kind, offset) VALUES ('traces', 7)")
    schema.migrate(client)
    assert client.query(listed).result_rows == before
    shown = ("commands_shown_v", "journal_shown_v", "outcomes_shown_v", "shadow_traces_shown_v", "traces_shown_v")
    copies = ("journal_shown_copies_v", "measures_arms_copies_v", "measures_verdicts_copies_v")
    sets = [f"{name}{of}" for name in SETS for of in ("", "_fed", "_v")]
    assert [row[0] for row in before] == sorted([*TABLES, *(f"{table}_v" for table in TABLES), *shown, *copies, *sets])
    assert client.query("SELECT offset FROM clean_batches_v").result_rows == [(7,)]


@pytest.mark.parametrize("table", TABLES)
def test_a_tables_sorting_key_ends_with_the_row_id(told: Client, table: str) -> None:
    key = told.query(
        "SELECT sorting_key, engine FROM system.tables WHERE database = 'told' AND name = {table:String}",
        parameters={"table": table},
    ).result_rows[0]
    assert tuple(key[0].split(", "))[-4:] == schema.ID_COLUMNS
    assert key[1] == "ReplacingMergeTree"


@pytest.mark.parametrize("table", [*TABLES, *SETS])
def test_a_table_forgets_by_a_ttl(table: str) -> None:
    assert " DAY" in statement(table).partition("\nTTL ")[2]


@pytest.mark.parametrize("table", TABLES)
def test_arrow_columns_are_the_tables_and_the_view_shows_them_all_but_a_dead_letters_bytes(
    told: Client, table: str
) -> None:
    names = schema.tables()[table].names
    hidden = {"key", "value"} if table == "dead_letters" else set()
    assert columns(told, table) == [*names, schema.STORED_AT]
    assert columns(told, f"{table}_v") == [name for name in names if name not in hidden]


def test_nothing_is_ever_updated_or_deleted_but_by_ttl() -> None:
    for text in schema.statements():
        made = ("CREATE TABLE IF NOT EXISTS ", "CREATE OR REPLACE VIEW ", "CREATE MATERIALIZED VIEW IF NOT EXISTS ")
        assert text.startswith(made) or is_of_columns(text)


def is_of_columns(text: str) -> bool:
    """Whether it only adds columns, or says that they may be null."""
    return bool(
        re.fullmatch(
            r"ALTER TABLE \w+ ADD COLUMN IF NOT EXISTS \w+ Bool AFTER \w+(, MODIFY COLUMN \w+ Nullable\(Int64\))+", text
        )
    )


def test_every_position_table_exists() -> None:
    assert set(POSITION_TABLE.values()) <= set(TABLES)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1", "connection refused"),
        ("clickhouse.example:8123", "http://HOST:PORT"),
        ("http://ada:hunter2@127.0.0.1:port", "no number"),
    ],
)
def test_an_address_nobody_answers_at_is_refused_in_one_sentence_without_the_password(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        connect(url)
    assert "\n" not in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_what_a_client_reads_for_stands_in_the_log_of_queries(clickhouse: EmbeddedClickHouse) -> None:
    """P1: who read texts, and for what."""
    client = connect(clickhouse.url, database="told", why="stoploss cases checkout")
    assert client.query("SELECT getSetting('log_comment')").result_rows == [("stoploss cases checkout",)]
    client.close()


def test_a_database_name_that_is_no_identifier_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no database name"):
        connect("http://127.0.0.1:1", database="x; DROP DATABASE y")
