"""Workers of several versions read what each other writes: schemas travel on a topic of their own."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from stoploss import ledger
from stoploss.errors import UnknownSchema
from stoploss.ledger import Tick
from stoploss.settings import Settings
from stoploss.wire import schemas
from stoploss.wire.framing import single_object
from streams import shared_schemas
from tests.installation import Kafka, appending, create_topics, messages, settings_of

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Settings:
    settings = settings_of(kafka, tmp_path)
    create_topics(settings, "schemas")
    return settings


@pytest.fixture(autouse=True)
def _nothing_is_learnt_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "OTHERS", {})
    monkeypatch.setattr(schemas, "_lookups", [])


def next_tick() -> dict[str, Any]:
    """The schema of a tick as a next version may have it: with one more optional field, in the middle."""
    source = json.loads(json.dumps(schemas.schema("tick").source))
    source["fields"].insert(1, {"name": "host", "type": ["null", "string"], "default": None})
    return dict(source)


def written_by_the_next() -> bytes:
    out = io.BytesIO()
    record = {"partition": 3, "host": "h", "owner": "me"}
    fastavro.schemaless_writer(out, fastavro.parse_schema(next_tick()), record)
    return single_object(schemas.fingerprint_of(next_tick()), out.getvalue())


def shared_by_the_next(settings: Settings) -> None:
    key = b"tick/" + schemas.fingerprint_of(next_tick()).hex().encode()
    appender = appending(settings)
    appender.append(settings.topics("schemas"), json.dumps(next_tick()).encode(), key=key)
    appender.flush()


def test_a_fact_of_a_newer_version_is_read_by_what_that_one_has_shared(settings: Settings) -> None:
    shared_schemas.learn(settings)
    with pytest.raises(UnknownSchema):
        ledger.decode(written_by_the_next())
    shared_by_the_next(settings)
    assert ledger.decode(written_by_the_next()) == Tick(3, "me")


def test_without_a_topic_to_ask_it_is_refused_as_before(settings: Settings) -> None:
    shared_by_the_next(settings)
    with pytest.raises(UnknownSchema):
        ledger.decode(written_by_the_next())


def test_each_version_shares_its_schemas_once(settings: Settings) -> None:
    for _ in range(2):
        shared_schemas.share(settings)
    assert len(messages(settings, "schemas")) == len(schemas.current())
    assert set(shared_schemas.stored(settings)) == {schema.fingerprint for schema in schemas.current().values()}


def test_what_is_no_schema_is_passed_over(settings: Settings) -> None:
    appender = appending(settings)
    for value in (b"", b"no json", b"[]", b'{"type": "record", "name": "Tick", "fields": [{"name": "a"}]}'):
        appender.append(settings.topics("schemas"), value, key=b"tick/0123456789abcdef")
    shared_by_the_next(settings)
    assert list(shared_schemas.stored(settings)) == [schemas.fingerprint_of(next_tick())]
