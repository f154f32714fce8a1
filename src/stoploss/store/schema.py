"""The tables: tables.sql is their one definition, and the Arrow columns of an insert are read off it.

sets.sql defines what ClickHouse makes of them by itself, and nobody inserts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:  # who only writes the columns needs no client
    from clickhouse_connect.driver.client import Client

TABLES, SETS = (Path(__file__).with_name(name) for name in ("tables.sql", "sets.sql"))
ID_COLUMNS = ("topic_uuid", "partition", "offset", "ordinal")
"""Where a row came from: what makes two rows one."""
STORED_AT = "stored_at"

# Arrow's binary for every String: keys and values are bytes, and text goes in as its UTF-8.
_ARROW = {
    "String": pa.binary(),
    "Float64": pa.float64(),
    "Int32": pa.int32(),
    "Int64": pa.int64(),
    "Bool": pa.bool_(),
    "DateTime64": pa.timestamp("us", tz="UTC"),
}
_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)\n\((.*?)\n\)\nENGINE", re.DOTALL)
_WORD = re.compile(r"\s*(\w+|'[^']*'|[(),])")


@cache
def statements(*files: Path) -> tuple[str, ...]:
    """The statements of both files, or of those given, without comments. No string in them holds a semicolon."""
    lines = [line for file in files or (TABLES, SETS) for line in file.read_text().splitlines()]
    text = "\n".join(line for line in lines if not line.startswith("--"))
    return tuple(statement.strip() for statement in text.split(";") if statement.strip())


@cache
def tables() -> dict[str, pa.Schema]:
    """Arrow schema of every table that is inserted into by name, without stored_at; nullable where the column is."""
    matches = (_TABLE.match(statement) for statement in statements(TABLES))
    return {match[1]: _columns(match[2]) for match in matches if match}


def _columns(body: str) -> pa.Schema:
    """A column a line: its name, its type, then what Arrow need not know. Indexes are in capitals."""
    lines = (line.strip().partition(" ") for line in body.splitlines())
    declared = [(name, rest) for name, _, rest in lines if name.islower() and name != STORED_AT]
    return pa.schema([pa.field(name, arrow_type(rest), nullable=_is_nullable(rest)) for name, rest in declared])


def _is_nullable(clickhouse_type: str) -> bool:
    return clickhouse_type.startswith(("Nullable(", "LowCardinality(Nullable("))


def arrow_type(clickhouse_type: str) -> Any:
    """Arrow's type for one of the column types that tables.sql uses.

    >>> str(arrow_type("Array(Tuple(name LowCardinality(Nullable(String)), value Float64))"))
    'list<item: struct<name: binary, value: double>>'
    """
    return _type(match[1] for match in _WORD.finditer(clickhouse_type))


def _type(words: Iterator[str]) -> Any:
    word = next(words)
    if word in ("Nullable", "LowCardinality", "Array"):
        next(words)
        inner = _type(words)
        next(words)
        return pa.list_(inner) if word == "Array" else inner
    if word == "Tuple":
        return pa.struct(list(_members(words)))
    if word == "DateTime64":
        while next(words) != ")":
            pass
    return _ARROW[word]


def _members(words: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Each after its bracket or comma."""
    while next(words) != ")":
        name = next(words)
        yield name, _type(words)


def is_there(client: Client) -> bool:
    """Whether the client's database is made: before, the server answers nothing that is asked in it."""
    found = client.command(
        "SELECT count() FROM system.databases WHERE name = {database:String}",
        parameters={"database": client.database},
        use_database=False,
    )
    return bool(found)


def migrate(client: Client) -> None:
    """Create the client's database, its tables and its views; what is there already stays as it is."""
    client.command(
        "CREATE DATABASE IF NOT EXISTS {database:Identifier}",
        parameters={"database": client.database},
        use_database=False,
    )
    for statement in statements():
        client.command(statement)
