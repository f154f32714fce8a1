"""A database with the story in it for each module."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from clickhouse_connect.driver.client import Client

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.store import inserts
from stoploss.store.client import connect
from stoploss.store.schema import migrate
from tests.store import samples


@pytest.fixture(scope="session")
def database(clickhouse: EmbeddedClickHouse) -> Callable[[str], Client]:
    """A client of a database of that name, with all tables."""

    def made(name: str) -> Client:
        client = connect(clickhouse.url, database=name)
        migrate(client)
        return client

    return made


@pytest.fixture(scope="session")
def told(database: Callable[[str], Client]) -> Client:
    """A database that holds the story, inserted once; tests only read it."""
    client = database("told")
    for stream, records in samples.story().items():
        inserts.insert(client, inserts.encode(stream, records))
    return client
