"""What workers of several versions tell each other: by which schemas they write, on the topic `schemas`.

A worker puts its own there before it writes anything. Whoever then meets a value of a schema that it does not know
finds it there and reads the value by its own: while a version is rolled out or taken back, nothing is unreadable.

    key    name and fingerprint: `evidence_block/0123456789abcdef`
    value  the schema as JSON, with its defaults
"""

from __future__ import annotations

import json
from functools import partial

import fastavro
import structlog

from stoploss.settings import Settings
from stoploss.wire import schemas
from stoploss.wire.schemas import Schema
from streams.appender import Appender
from streams.reading import whole

log = structlog.get_logger("stoploss.schemas")

NO_SCHEMA = (ValueError, TypeError, KeyError, AttributeError, RecursionError, fastavro.schema.SchemaParseException)


def share(settings: Settings) -> None:
    """Puts those of this version there that are missing, and looks there for what this version does not know."""
    topic = settings.topics("schemas")
    known = stored(settings)
    missing = [schema for schema in schemas.current().values() if schema.fingerprint not in known]
    if missing:
        appender = Appender(settings.need_kafka())
        for schema in missing:
            appender.append(topic, json.dumps(schema.source).encode(), key=_key(schema))
        appender.flush()
    learn(settings)


def learn(settings: Settings) -> None:
    """Looks there for what this version does not know; only once something is."""
    schemas.ask_others_by(partial(stored, settings))


def stored(settings: Settings) -> dict[bytes, Schema]:
    """All that stand there, by fingerprint."""
    found = (_schema(m.key(), m.value()) for m in whole(settings.need_kafka(), settings.topics("schemas")))
    return {schema.fingerprint: schema for schema in found if schema is not None}


def _key(schema: Schema) -> bytes:
    return f"{schema.name}/{schema.fingerprint.hex()}".encode()


def _schema(key: bytes | None, value: bytes | None) -> Schema | None:
    """The name is the key's; the fingerprint is worked out anew, whatever the key says."""
    name = (key or b"").decode(errors="replace").partition("/")[0]
    try:
        source = json.loads(value or b"")
        if not isinstance(source, dict):
            raise TypeError("it is no schema of a record")
        return schemas.schema_of(name, source)
    except NO_SCHEMA as why:
        log.warning("a schema that cannot be read stands on the topic schemas", key=name, reason=repr(why))
        return None
