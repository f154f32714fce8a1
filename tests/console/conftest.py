"""One console for all tests of it, asked in this process as a browser would ask it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from stoploss.console.app import build
from stoploss.console.parts import Console
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.settings import Settings
from tests.console.world import PERSON, World, living

BASE = "http://127.0.0.1:8765"
HTML = {"accept": "text/html"}
OURS = {"origin": BASE}


@pytest.fixture(scope="package")
def world(
    kafka: EmbeddedKafka, clickhouse: EmbeddedClickHouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with living(kafka, clickhouse, tmp_path_factory.mktemp("console")) as found:
        yield found


def stranger(console: Console) -> TestClient:
    """Nobody is signed in."""
    return TestClient(build(console), base_url=BASE, headers=HTML, raise_server_exceptions=True)


def signed_in(console: Console, person: str = PERSON) -> TestClient:
    client = stranger(console)
    answer = client.get(console.sessions.link("", person))
    assert answer.status_code == 200, answer.text
    return client


@pytest.fixture
def ada(world: World) -> TestClient:
    return signed_in(world.console)


def console_with(world: World, **other: object) -> Console:
    """The same home, with other settings."""
    return Console.of(Settings(**{**world.settings.model_dump(), **other}))


def csrf_of(text: str) -> str:
    return re.findall(r'name="csrf" value="([^"]+)"', text)[0]


def fields_of(text: str) -> dict[str, str]:
    """The hidden fields of the form of a confirmation."""
    form = text[text.index('class="card ask"') :]
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))


def words_of(text: str) -> str:
    """What a person reads: no tags, one space between words."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())
