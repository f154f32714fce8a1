"""Guarded block decode: many Avro datums of one schema read as one object container block, at column speed.

Kafka values, stripped of their framing and joined, are an Avro container block: header with the writer schema, count,
size, data, sync marker. polars reads it in one call. A fixed field of 16 fresh random bytes is appended to the schema
and put after every datum: a datum that is too short or too long shifts what follows and no longer meets its guard, and
no producer can guess it, so none can swallow its neighbour.

Two things about polars.read_avro shape the schema it is given here: it refuses `default`, and it reads any boolean byte
but 1 as false. So annotations are dropped, and top-level booleans are read as Avro ints (byte 0 is 0, byte 1 is -1),
where any other byte is seen and refused: a safety flag must not get lost in a bad byte.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from typing import Any

import polars as pl

from stoploss.errors import MalformedRecord
from stoploss.wire.schemas import JsonSchema, Schema

GUARD_FIELD = "stoploss_guard"
GUARD_SIZE = 16
_GUARD = {"name": GUARD_FIELD, "type": {"type": "fixed", "name": "StoplossGuard", "size": GUARD_SIZE}}
_SHAPE_KEYS = frozenset({"type", "name", "namespace", "fields", "items", "values", "symbols", "size"})
_PLAIN = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
_MAGIC = b"Obj\x01"
_HEADERS_KEPT = 256


def zigzag(number: int) -> bytes:
    """Avro's variable-length encoding of a long.

    >>> zigzag(-1), zigzag(64)
    (b'\\x01', b'\\x80\\x01')
    """
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest & ~0x7F:
        out.append((rest & 0x7F) | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def shape(schema: Any) -> Any:
    """A schema without what changes no byte on the wire: docs, defaults, logical types, aliases."""
    if isinstance(schema, dict):
        return {key: shape(value) for key, value in schema.items() if key in _SHAPE_KEYS}
    if isinstance(schema, list):
        return [shape(item) for item in schema]
    return schema


def is_columnar(node: Any, in_array: bool = False) -> bool:
    """Whether polars reads it: it panics at a map and at an enum inside an array, and follows no name of a type."""
    if isinstance(node, list):
        return len(node) == 2 and "null" in node and all(is_columnar(branch, in_array) for branch in node)
    if isinstance(node, str):
        return node in _PLAIN
    match node["type"]:
        case "record":
            return all(is_columnar(field["type"], in_array) for field in node["fields"])
        case "array":
            return is_columnar(node["items"], in_array=True)
        case "enum":
            return not in_array
        case inner:
            return is_columnar(inner, in_array)


@dataclass(frozen=True, slots=True)
class _Header:
    """What stands before the blocks of a writer schema, but for the sync marker."""

    prefix: bytes
    flags: tuple[str, ...]


_headers: dict[bytes, _Header] = {}


def _header(schema: Schema) -> _Header:
    found = _headers.get(schema.fingerprint)
    if found is None:
        if len(_headers) >= _HEADERS_KEPT:
            _headers.clear()
        found = _headers[schema.fingerprint] = _make_header(schema.source)
    return found


def _make_header(source: JsonSchema) -> _Header:
    bare = shape(source)
    flags = tuple(field["name"] for field in bare["fields"] if field["type"] == "boolean")
    fields = [{**field, "type": "int"} if field["name"] in flags else field for field in bare["fields"]]
    text = json.dumps({**bare, "fields": [*fields, _GUARD]}).encode()
    entries = ((b"avro.schema", text), (b"avro.codec", b"null"))
    pairs = b"".join(zigzag(len(part)) + part for entry in entries for part in entry)
    return _Header(_MAGIC + zigzag(len(entries)) + pairs + zigzag(0), flags)


def read_block(schema: Schema, datums: list[bytes]) -> pl.DataFrame:
    """Datums of one writer schema, framing stripped, as a frame: one row each, columns as the writer has them.

    Raises MalformedRecord if any datum is not exactly one record; which one, a reader of single records must find.
    An enum comes as Categorical.
    """
    header, sync, guard = _header(schema), os.urandom(16), os.urandom(GUARD_SIZE)
    body = guard.join(datums) + guard
    count_and_size = zigzag(len(datums)) + zigzag(len(body))
    frame = _read(b"".join((header.prefix, sync, count_and_size, body, sync)))
    guards = frame.drop_in_place(GUARD_FIELD)
    if frame.height != len(datums) or not (guards == pl.Series([guard])).all():
        raise MalformedRecord("a datum of the block is too short or too long: the guard behind it is not met")
    return pl.DataFrame([_flag(column) if column.name in header.flags else column for column in frame.iter_columns()])


def _read(block: bytes) -> pl.DataFrame:
    try:
        return pl.read_avro(io.BytesIO(block))
    except (pl.exceptions.ComputeError, pl.exceptions.PanicException, OSError) as error:
        raise MalformedRecord(f"the block cannot be read: {error}") from error


def _flag(column: pl.Series) -> pl.Series:
    if column.min() not in (-1, 0) or column.max() not in (-1, 0):
        raise MalformedRecord(f"field {column.name!r} of the block holds a boolean that is neither byte 0 nor byte 1")
    return column != 0
