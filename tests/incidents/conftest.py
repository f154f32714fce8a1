"""One incident in ClickHouse for the tests of a file, and the command line to ask about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from stoploss.control.keys import KeyPair, create_keys
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.signing import Signer
from stoploss.store.client import connect
from tests.cli.conftest import Program, stoploss
from tests.incidents import world
from tests.timelines import Timeline

__all__ = ["stoploss"]


@dataclass(frozen=True, slots=True)
class Incident:
    story: Timeline
    client: Client
    keys: KeyPair
    url: str
    database: str
    home: Path

    @property
    def command_id(self) -> str:
        return next(command.command_id for command in self.story.commands if command.action == "stop")


@pytest.fixture(scope="package")
def recorded(clickhouse: EmbeddedClickHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Incident]:
    story, database = world.leaked(), "incidents"
    home = tmp_path_factory.mktemp("incidents")
    client = connect(clickhouse.url, database=database)
    keys = create_keys(home / "keys")
    world.record(client, story, Signer.load(keys.private), world.frame())
    yield Incident(story, client, keys, clickhouse.url, database, home)
    client.close()


@pytest.fixture
def asked(stoploss: Program, recorded: Incident) -> Program:
    """The program, with nothing but the store that has the incident."""
    return stoploss.set(clickhouse_url=recorded.url, clickhouse_database=recorded.database)
