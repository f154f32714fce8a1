"""Schema ids: asked for once, off the path, and what is not known is not asked for again and again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from stoploss.errors import UnknownSchema
from stoploss.wire import schemas
from stoploss.wire.block import is_columnar
from stoploss.wire.registry_address import RegistryAddress
from streams import schema_registry
from streams.schema_registry import MOST_DENIED, SchemaRegistry, schema_of
from tests.fuzz.corpus import NEWER, REGISTRY, confluent, resolver
from tests.intake.alone import process_traces
from tests.intake.records import AT, NAME, SALT, SOURCE, raw, trace, watching

TRACE = json.dumps(schemas.schema("trace").source)


class Registry:
    """Answers as a schema registry does, and counts what it is asked."""

    def __init__(self) -> None:
        self.texts = {1: TRACE, NEWER: json.dumps(REGISTRY["trace"][NEWER].source)}
        self.asked: list[str] = []
        self.silent = threading.Event()
        self.silent.set()
        self.broken = False
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                registry.silent.wait(30)
                text = registry.texts.get(int(self.path.rpartition("/")[2]))
                status = 500 if registry.broken else 404 if text is None else 200
                body = json.dumps({"error_code": 40403} if status != 200 else {"schema": text}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                """Nothing on stderr."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.url = RegistryAddress(f"http://127.0.0.1:{self.server.server_port}/")

    def close(self) -> None:
        self.silent.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    served = Registry()
    yield served
    served.close()


def test_a_record_is_read_by_the_schema_that_its_writer_registered_and_is_asked_for_once(registry: Registry) -> None:
    resolve = SchemaRegistry(registry.url)
    for _ in range(3):
        values = [confluent("trace", trace(trace_id="a"), schema_id) for schema_id in (1, NEWER)]
        result = process_traces(raw(values), SOURCE, watching(), salt=SALT, now_micros=AT, resolve=resolve)
        assert result.rows[NAME].rows == 2
    assert registry.asked == ["/schemas/ids/1", f"/schemas/ids/{NEWER}"]


def test_an_id_that_the_registry_denies_is_asked_for_again_after_a_minute(registry: Registry) -> None:
    now_s = [0.0]
    resolve = SchemaRegistry(registry.url, clock=lambda: now_s[0])
    assert [resolve(9), resolve(9)] == [None, None]
    assert len(registry.asked) == 1
    registry.texts[9] = TRACE
    now_s[0] = 61.0
    found = resolve(9)
    assert found is not None
    assert found.fingerprint == schemas.schema("trace").fingerprint


def test_made_up_ids_cost_bounded_memory(registry: Registry) -> None:
    resolve = SchemaRegistry(registry.url)
    for schema_id in range(2 * MOST_DENIED):
        resolve._deny(schema_id)
    assert len(resolve._denied) == MOST_DENIED


def test_a_registry_that_does_not_answer_costs_two_seconds_in_ten_and_is_used_once_it_does(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_registry, "PATIENCE_S", 0.2)
    registry.silent.clear()
    resolve = SchemaRegistry(registry.url)
    assert [resolve(schema_id) for schema_id in range(100, 300)] == [None] * 200
    assert resolve._waited_s < 5
    registry.silent.set()
    registry.texts[7] = TRACE
    resolve._window_from_s = -100.0
    resolve._threads.submit(int).result(30)
    assert resolve(7) is not None


def test_a_registry_that_fails_denies_nothing(registry: Registry) -> None:
    resolve = SchemaRegistry(registry.url)
    registry.broken = True
    assert resolve(1) is None
    registry.broken = False
    assert resolve(1) is not None


def test_a_large_record_of_a_writer_whose_types_the_columnar_reader_does_not_know_arrives() -> None:
    value = confluent("trace", trace(trace_id="large", output_text="x" * 200_000), NEWER)
    values = raw([value, value[:-1], confluent("trace", trace(trace_id="small"), NEWER)])
    given = {"salt": SALT, "now_micros": AT, "resolve": resolver("trace")}
    result = process_traces(values, SOURCE, watching(), **given)  # type: ignore[arg-type]
    assert result.rows[NAME].columns["offset"].tolist() == [100, 102]
    assert [reject.code for reject in result.rejects] == ["malformed_avro"]


@pytest.mark.parametrize(
    ("node", "known"),
    [
        (schemas.schema("trace").source, True),
        (schemas.schema("outcome").source, True),
        ({"type": "map", "values": "string"}, False),
        ({"type": "array", "items": {"type": "enum", "name": "E", "symbols": ["a"]}}, False),
        ({"type": "fixed", "name": "F", "size": 4}, False),
        (["null", "int", "string"], False),
        (["null", "Role"], False),
    ],
)
def test_only_types_that_the_columnar_reader_knows_are_given_to_it(node: Any, known: bool) -> None:
    assert is_columnar(node) == known


HOSTILE = {
    "no JSON": "{",
    "no record": '"string"',
    "a list": "[]",
    "no fields": '{"type": "record", "name": "Trace"}',
    "a type of its own": '{"type": "record", "name": "Trace", "fields": [{"name": "a", "type": ["null", "Trace"]}]}',
    "an unknown type": '{"type": "record", "name": "Trace", "fields": [{"name": "a", "type": "nothing"}]}',
    "deep": '{"type": "record", "name": "Trace", "fields": [{"name": "a", "type": '
    + '{"type": "array", "items": ' * 500
    + '"int"'
    + "}" * 500
    + "}]}",
    "deeper than json reads": "[" * 100_000,
    "large": json.dumps("x" * 300_000),
    "a name that is none": '{"type": "record", "name": 7, "fields": []}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_refused(name: str) -> None:
    with pytest.raises(UnknownSchema):
        schema_of(HOSTILE[name])


def test_a_type_that_is_named_twice_side_by_side_is_fine() -> None:
    twice = json.loads(TRACE)
    twice["fields"] += [{"name": "other_role", "type": "Role", "default": "live"}]
    assert schema_of(json.dumps(twice)).source["name"] == "Trace"
