"""Schemas of a schema registry, for records in Confluent's framing: asked for once, and never at the stream's expense.

A lookup runs in a thread of its own. Whoever asks waits for it, but in all no longer than PATIENCE_S of every WINDOW_S,
so neither a registry that is down nor a flood of made-up ids stands intake still: what is not known then is refused as
`unknown_schema`, and can be sent again from the dead letters. An id that the registry denies is not asked for again
for a minute; how many of those are remembered is bounded.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from http import HTTPStatus
from typing import Any

import fastavro
import structlog

from stoploss.errors import UnknownSchema
from stoploss.settings import Settings
from stoploss.wire import schemas
from stoploss.wire.registry_address import RegistryAddress
from stoploss.wire.schemas import Schema

log = structlog.get_logger("stoploss.schema_registry")

PATIENCE_S, WINDOW_S = 2.0, 10.0
DENIED_FOR_S = 60.0
MOST_DENIED = 10_000
MOST_ASKED_AT_ONCE = 64
LARGEST_SCHEMA_BYTES = 256 * 1024
DEEPEST = 32


class SchemaRegistry:
    """A wire.traces.Resolver; call it from one thread at a time."""

    def __init__(self, url: RegistryAddress, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._clock = url, clock
        self._known: dict[int, Schema] = {}
        self._denied: OrderedDict[int, float] = OrderedDict()
        self._asked: dict[int, Future[None]] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(1, "schema-registry")
        self._window_from_s, self._waited_s = clock(), 0.0

    def __call__(self, schema_id: int) -> Schema | None:
        """None: the registry denies it, or has not answered yet."""
        if schema_id not in self._known and not self._is_denied(schema_id):
            self._wait(self._ask(schema_id))
        return self._known.get(schema_id)

    def has_answered(self, schema_id: int) -> bool:
        """Whether it has given the schema, or has lately denied that there is one."""
        return schema_id in self._known or self._is_denied(schema_id)

    def _is_denied(self, schema_id: int) -> bool:
        return self._clock() < self._denied.get(schema_id, 0.0)

    def _ask(self, schema_id: int) -> Future[None] | None:
        with self._lock:
            if schema_id not in self._asked and len(self._asked) < MOST_ASKED_AT_ONCE:
                self._asked[schema_id] = self._threads.submit(self._look_up, schema_id)
            return self._asked.get(schema_id)

    def _wait(self, asked: Future[None] | None) -> None:
        now_s = self._clock()
        if now_s - self._window_from_s >= WINDOW_S:
            self._window_from_s, self._waited_s = now_s, 0.0
        left_s = PATIENCE_S - self._waited_s
        if asked is None or left_s <= 0:
            return
        try:
            asked.result(left_s)
        except NotYet:
            log.warning("the schema registry has not answered yet", url=self._url)
        self._waited_s += self._clock() - now_s

    def _look_up(self, schema_id: int) -> None:
        try:
            self._known[schema_id] = schema_of(self._fetch(schema_id))
        except UnknownSchema as error:
            log.warning("schema refused", schema_id=schema_id, reason=str(error))
            self._deny(schema_id)
        except (OSError, ValueError) as error:
            log.warning("the schema registry cannot be asked", url=self._url, reason=str(error))
        finally:
            with self._lock:
                del self._asked[schema_id]

    def _deny(self, schema_id: int) -> None:
        self._denied[schema_id] = self._clock() + DENIED_FOR_S
        while len(self._denied) > MOST_DENIED:
            self._denied.popitem(last=False)

    def _fetch(self, schema_id: int) -> str:
        """The schema's text. Raises UnknownSchema where there is none, OSError or ValueError where nobody can say."""
        try:
            with urllib.request.urlopen(self._url.request(f"/schemas/ids/{schema_id}"), timeout=PATIENCE_S) as answer:
                found = json.loads(answer.read(2 * LARGEST_SCHEMA_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                if error.code == HTTPStatus.NOT_FOUND:
                    raise UnknownSchema("the registry has no schema with this id") from error
            raise
        text = found.get("schema") if isinstance(found, dict) else None
        if not isinstance(text, str) or found.get("schemaType", "AVRO") != "AVRO":
            raise UnknownSchema("the registry's answer holds no Avro schema")
        return text


def resolver_of(settings: Settings) -> SchemaRegistry | None:
    """None where no registry is configured: records that name a schema id are then refused, and say so."""
    url = settings.registry()
    return None if url is None else SchemaRegistry(url)


def schema_of(text: str) -> Schema:
    """A writer's schema, which anybody may have registered; raises UnknownSchema where it is not safe to read by."""
    if len(text) > LARGEST_SCHEMA_BYTES:
        raise UnknownSchema(f"the schema has {len(text)} characters; at most {LARGEST_SCHEMA_BYTES} are read")
    try:
        source = json.loads(text)
        _refuse_recursion(source, (), 0)
        parsed = fastavro.parse_schema(schemas.without_logical_types(source))
        mark = schemas.fingerprint_of(source)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnknownSchema(f"it is no Avro schema: {error or type(error).__name__}") from error
    except fastavro.schema.SchemaParseException as error:
        raise UnknownSchema(f"it is no Avro schema: {error}") from error
    if not isinstance(source, dict) or source.get("type") != "record" or not isinstance(source.get("fields"), list):
        raise UnknownSchema("it is no schema of a record")
    return Schema(str(source["name"]), source, parsed, mark)


def _refuse_recursion(node: Any, inside: tuple[str, ...], depth: int) -> None:
    """A type within itself: readers would follow a datum of it as deep as its sender likes."""
    if depth > DEEPEST or (isinstance(node, str) and node.rpartition(".")[2] in inside):
        raise UnknownSchema("its types hold themselves, or lie too deep; send one record of plain fields")
    if isinstance(node, dict):
        name = str(node.get("name", "")).rpartition(".")[2]
        within = (*inside, name) if node.get("type") in ("record", "error") else inside
        parts = [field["type"] for field in node.get("fields", ())]
        parts += [node[key] for key in ("type", "items", "values") if key in node]
    else:
        within, parts = inside, node if isinstance(node, list) else []
    for part in parts:
        _refuse_recursion(part, within, depth + 1)
