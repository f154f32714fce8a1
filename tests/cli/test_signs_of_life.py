"""What may take longer than two seconds says on stderr that it is still at it, and stdout is the answer alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stoploss.control.keys import load_or_create_secret
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.settings import Settings
from stoploss.store.client import connect
from stoploss.store.schema import migrate
from tests.cli.conftest import Program
from tests.installation import installed

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

COMMANDS = {
    "status --json": "reading the registry",
    "list": "reading the registry",
    "start none": "reading the registry",
    "budgets": "adding up what was spent",
    "overlaps --json": "comparing experiments",
    "topics --json": "creating topics",
    "tables": "creating tables",
    "doctor --json": "looking",
    "explain none": "reading the evidence",
    "review none": "writing the review",
    "shadow none": "pairing shadow runs",
    "replay none": "replaying",
    "verify none": "verifying",
    "archive none -o none.zip": "archiving",
    "incident none -o none": "packing",
    "postmortem none": "writing the post-mortem",
    "cases none": "making cases",
    "knowledge latency --json": "searching",
    "erase --unit somebody": "erasing",
    "retention --check --json": "looking how long everything stays",
    "deadletter list --json": "reading dead letters",
    "emit requests.jsonl": "reading requests.jsonl",
}


@pytest.fixture(scope="module")
def settings(
    kafka: EmbeddedKafka, clickhouse: EmbeddedClickHouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Topics and tables of an installation in which nothing has happened yet, and no role runs."""
    home = tmp_path_factory.mktemp("quiet")
    with installed(kafka, home, clickhouse_url=clickhouse.url) as installation:
        with closing(connect(clickhouse.url, database=installation.settings.clickhouse_database)) as client:
            migrate(client)
        load_or_create_secret(installation.settings.keys / "secret.key")
        yield installation.settings


@pytest.mark.parametrize("command", COMMANDS)
def test_what_waits_for_others_says_so_on_stderr(
    stoploss: Program, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """As if two seconds were over at once. What each answers is the matter of other tests."""
    monkeypatch.setattr("stoploss.cli.progress.FIRST_S", 0.0)
    (tmp_path / "requests.jsonl").write_text("")
    ended = stoploss.of(settings)(*command.split())
    assert f"{COMMANDS[command]}: 0 s" in ended.err
    assert COMMANDS[command] not in ended.out
    if command.endswith("--json"):
        json.loads(ended.out)
