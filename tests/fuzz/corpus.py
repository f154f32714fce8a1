"""Valid records to begin with, in every framing that stoploss reads; all of one seeded generator."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import fastavro

from stoploss.wire import schemas
from stoploss.wire.framing import single_object
from stoploss.wire.schemas import Schema
from tests.intake.records import AT, NAME, assigned

Record = dict[str, Any]
KINDS = ("trace", "outcome")
TEXTS = ("", "a", "acme GmbH", "Zürich", "東京", "a\x00b", "x" * 64, "me@example.org", "4111 1111 1111 1111", "😀")
CURRENT, OLDER, NEWER = 1, 2, 3


def changed(name: str, change: Callable[[Record], None]) -> Schema:
    """The current schema with a change, as another service's version of it."""
    source = copy.deepcopy(schemas.schema(name).source)
    change(source)
    parsed = fastavro.parse_schema(schemas.without_logical_types(source))
    return replace(schemas.schema(name), source=source, parsed=parsed, fingerprint=schemas.fingerprint_of(source))


def _older(source: Record) -> None:
    source["fields"] = [field for field in source["fields"] if field["name"] not in ("attributes", "conversation_id")]


def _newer(source: Record) -> None:
    """Beside a new field of a type that the columnar reader does not know, one that is written narrower."""
    source["fields"].append({"name": "labels", "type": {"type": "map", "values": "string"}})


REGISTRY: dict[str, dict[int, Schema]] = {
    name: {CURRENT: schemas.schema(name), OLDER: changed(name, _older), NEWER: changed(name, _newer)} for name in KINDS
}


def resolver(name: str) -> Callable[[int], Schema | None]:
    """The schema registry of these tests."""
    return REGISTRY[name].get


def record(rng: Random, kind: str, trace_id: str) -> Record:
    """A whole valid record."""
    return _trace(rng, trace_id) if kind == "trace" else _outcome(rng, trace_id)


def _trace(rng: Random, trace_id: str) -> Record:
    flat = {"trace_id": trace_id, "at": AT - rng.randrange(10**6), **_filled("trace"), "assignments": _assignments(rng)}
    if rng.random() < 0.5:
        return flat
    texts = ("service", "unit_id", "conversation_id", "tenant", "language", "channel", "model", "error_type")
    flat |= {name: rng.choice(TEXTS) for name in (*texts, "finish_reason", "input_text", "output_text")}
    if rng.random() < 0.02:
        flat["output_text"] = "long " * 20_000  # read in a block of its own where its neighbours are bad
    flat |= {name: rng.choice((0.0, 0.5, 812.25)) for name in ("latency_ms", "time_to_first_token_ms", "cost_usd")}
    flat |= {name: rng.randrange(5_000) for name in ("input_tokens", "output_tokens", "cached_tokens")}
    flat |= {"role": rng.choice(("live", "shadow")), "pii_exposed": rng.random() < 0.1}
    flat["scores"] = [{"name": "helpfulness", "value": rng.random()} for _ in range(rng.randrange(3))]
    flat["steps"] = [_step(rng) for _ in range(rng.randrange(4))]
    flat["attributes"] = [
        {"key": rng.choice(("tier", "x")), "value": rng.choice(TEXTS)} for _ in range(rng.randrange(3))
    ]
    return flat


def _step(rng: Random) -> Record:
    optional = {name: rng.choice((None, *TEXTS)) for name in ("agent", "mcp_server", "scope", "approval_id", "outcome")}
    kind = rng.choice(("model", "tool", "handoff", "approval", "guardrail"))
    return {"kind": kind, "name": rng.choice(("search", "x")), "side_effect": rng.random() < 0.2, **optional}


def _outcome(rng: Random, trace_id: str) -> Record:
    values = {"name": rng.choice(("helpfulness", "resolved", "other")), "value": rng.random(), "kind": "score"}
    return {"trace_id": trace_id, "at": AT, **_filled("outcome"), **values, "assignments": _assignments(rng)}


def _assignments(rng: Random) -> list[Record]:
    stamps = rng.choice(({"run": None, "epoch": None}, {"run": 1, "epoch": 2}, {"run": 2**31 - 1, "epoch": -1}))
    return [assigned(rng.choice(("current", "small")), consent=rng.choice((None, True, False)), **stamps)]


@cache
def _defaults(kind: str) -> Record:
    fields = schemas.schema(kind).source["fields"]
    return {field["name"]: field["default"] for field in fields if "default" in field}


def _filled(kind: str) -> Record:
    """Every field that has a default, with it; nobody changes one in place."""
    return dict(_defaults(kind))


# ---- framings --------------------------------------------------------------------------------------


def datum(schema: Schema, content: Record) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.parsed, content)
    return out.getvalue()


def single(kind: str, content: Record) -> bytes:
    return single_object(schemas.schema(kind).fingerprint, datum(schemas.schema(kind), content))


def confluent(kind: str, content: Record, schema_id: int) -> bytes:
    written = {**content, "labels": {"a": "b", "c": ""}} if schema_id == NEWER else content
    return b"\x00" + schema_id.to_bytes(4, "big") + datum(REGISTRY[kind][schema_id], written)


def as_json(content: Record) -> bytes:
    return json.dumps(content).encode()


def framed(rng: Random, kind: str, content: Record) -> bytes:
    """In any framing; most in the one that the SDK writes."""
    chosen = rng.random()
    if chosen < 0.5:
        return single(kind, content)
    if chosen < 0.75:
        return as_json(content)
    return confluent(kind, content, rng.choice((CURRENT, OLDER, NEWER)))


def good(rng: Random, kind: str, trace_id: str) -> bytes:
    """A record that must arrive as one row of evidence, whatever stands beside it."""
    content = record(rng, kind, trace_id)
    more = {"role": "live"} if kind == "trace" else {"name": "helpfulness"}
    return framed(rng, kind, {**content, **more, "assignments": [assigned("small", NAME)]})
