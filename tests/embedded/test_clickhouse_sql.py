"""Where a statement ends and its rows begin."""

from __future__ import annotations

import pytest

from stoploss.embedded.clickhouse_sql import is_driver_hello, result_format, split_insert


@pytest.mark.parametrize(
    ("sql", "statement", "used_format", "rows"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", "INSERT INTO t ", "CSV", b"1,2\n"),
        (b"insert into t format JSONEachRow {}", "insert into t ", "JSONEachRow", b"{}"),
        (b"INSERT INTO t (a, b) FORMAT Native \r\n\n\x00", "INSERT INTO t (a, b) ", "Native", b"\n\x00"),
        (
            b"-- FORMAT CSV\n/* FORMAT */ INSERT INTO t FORMAT TSV\nx",
            "-- FORMAT CSV\n/* FORMAT */ INSERT INTO t ",
            "TSV",
            b"x",
        ),
        (b"INSERT INTO format FORMAT CSV\nx", "INSERT INTO format ", "CSV", b"x"),
        (b"INSERT INTO db.format FORMAT CSV\nx", "INSERT INTO db.format ", "CSV", b"x"),
        (b"INSERT INTO TABLE t FORMAT CSV\nx", "INSERT INTO TABLE t ", "CSV", b"x"),
        (b"INSERT INTO t (format, select) FORMAT CSV\nx", "INSERT INTO t (format, select) ", "CSV", b"x"),
        (b"INSERT INTO `a FORMAT b` FORMAT CSV\nx", "INSERT INTO `a FORMAT b` ", "CSV", b"x"),
        (b"INSERT INTO `a\\`FORMAT b` FORMAT CSV\nx", "INSERT INTO `a\\`FORMAT b` ", "CSV", b"x"),
        (
            b"INSERT INTO t SETTINGS log_comment = 'a FORMAT b' FORMAT CSV\nx",
            "INSERT INTO t SETTINGS log_comment = 'a FORMAT b' ",
            "CSV",
            b"x",
        ),
        (b"INSERT INTO t FORMAT CSV", "INSERT INTO t ", "CSV", b""),
    ],
)
def test_the_rows_begin_after_the_format(sql: bytes, statement: str, used_format: str, rows: bytes) -> None:
    insert = split_insert(sql)
    assert insert is not None
    assert (insert.statement, insert.format, sql[insert.rows_at :]) == (statement, used_format, rows)


@pytest.mark.parametrize(
    "sql",
    [
        b"",
        b"SELECT 1 FORMAT CSV",
        b"SELECT 'INSERT INTO t FORMAT CSV'",
        b"INSERT INTO t VALUES ('x FORMAT CSV')",
        b"INSERT INTO t VALUES (1) FORMAT CSV",
        b"INSERT INTO t SELECT 1 FORMAT CSV",
        b"INSERT INTO t (a) WITH 1 AS x SELECT x FORMAT CSV",
        b"INSERT INTO t FROM INFILE 'rows.csv' FORMAT CSV",
        b"INSERT INTO t",
        b"EXPLAIN INSERT INTO t FORMAT CSV",
    ],
)
def test_other_statements_have_no_rows_after_them(sql: bytes) -> None:
    assert split_insert(sql) is None


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"SELECT 1\n FORMAT Native;\n", "Native"),
        (b"SELECT 1 FORMAT CSV SETTINGS max_threads = 1", "CSV"),
        (b"SELECT 'FORMAT JSON'", None),
        (b"SELECT 1 -- FORMAT JSON", None),
        (b"SELECT (1 FORMAT JSON)", None),
        (b"SELECT format FROM t", None),
        (b"", None),
    ],
)
def test_the_format_of_a_result_is_that_of_its_last_clause(sql: bytes, expected: str | None) -> None:
    assert result_format(sql) == expected


def test_the_hello_of_the_go_driver_is_known_in_any_spacing() -> None:
    assert is_driver_hello(b" select displayName(),version(), revision(),\n timezone() ; ")
    assert not is_driver_hello(b"SELECT version(), timezone()")
