"""A named read: its SQL, the row it gives, and nothing of it made from a caller's text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from clickhouse_connect.driver.client import Client

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Query(Generic[Row]):
    """SQL whose columns are the fields of `row`; values come in as `{name:Type}` and are bound by the server."""

    row: type[Row]
    sql: str

    def run(self, client: Client, **parameters: Any) -> list[Row]:
        """Raises TypeError where SQL and row do not agree on their names."""
        result = client.query(self.sql, parameters=parameters)
        return [self.row(**dict(zip(result.column_names, values, strict=True))) for values in result.result_rows]
