"""Records of the contract to framed Avro, by the current schema.

fastavro walks all fields of a record, and nearly all of a trace are null. Here a record starts as the bytes of an empty
one, and only the fields that it has are written. `tests/otlp/test_encoding.py` reads the result with fastavro.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from struct import Struct
from typing import Any

from stoploss.wire import schemas
from stoploss.wire.block import zigzag
from stoploss.wire.framing import SINGLE_OBJECT

Write = Callable[[Any], bytes]

NULL, NOT_NULL, END = b"\x00", b"\x02", b"\x00"
LONGEST_REMEMBERED = 64
_DOUBLE = Struct("<d")


def encode(name: str, record: Mapping[str, Any]) -> bytes:
    """A record of schema `name` ("trace", "outcome"); items of its arrays are tuples in the order of their schemas.

    A field that it lacks, or that is None, takes its default.
    """
    empty, writers = _plan(name)
    parts = empty[:]
    for field, value in record.items():
        if value is not None:
            place, write = writers[field]
            parts[place] = write(value)
    return b"".join(parts)


@cache
def _plan(name: str) -> tuple[list[bytes], dict[str, tuple[int, Write]]]:
    """The parts of an empty record behind its header, and by field its place among them and its writer."""
    schema = schemas.schema(name)
    fields = schema.source["fields"]
    parts = [SINGLE_OBJECT + schema.fingerprint]
    parts += [_writer(field["type"])(field["default"]) if "default" in field else b"" for field in fields]
    return parts, {field["name"]: (place, _writer(field["type"])) for place, field in enumerate(fields, 1)}


def _writer(schema: Any) -> Write:
    if isinstance(schema, list):
        return _optional(_writer(next(branch for branch in schema if branch != "null")))
    kind = schema if isinstance(schema, str) else schema["type"]
    match kind:
        case "enum":
            symbols = {symbol: zigzag(place) for place, symbol in enumerate(schema["symbols"])}
            return lambda symbol: symbols[symbol]
        case "array":
            return _array(_record(schema["items"]))
        case _:
            return _PLAIN[kind]


def _optional(write: Write) -> Write:
    return lambda value: NULL if value is None else NOT_NULL + write(value)


def _record(schema: Any) -> Write:
    """Items say the same again and again: the same step, the same assignment."""
    writers = [_writer(field["type"]) for field in schema["fields"]]

    @lru_cache(maxsize=8_192)
    def write(item: Sequence[Any]) -> bytes:
        return b"".join([each(value) for each, value in zip(writers, item, strict=True)])

    return write


def _array(write: Write) -> Write:
    return lambda items: b"".join([_length(len(items)), *map(write, items), END]) if items else END


def _boolean(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"


def _text(value: str) -> bytes:
    return _short(value) if len(value) <= LONGEST_REMEMBERED else _string(value)


_length = lru_cache(maxsize=4_096)(zigzag)


def _string(value: str) -> bytes:
    raw = value.encode()
    return _length(len(raw)) + raw


_short = lru_cache(maxsize=16_384)(_string)
_PLAIN: dict[str, Write] = {
    "string": _text,
    "long": zigzag,
    "int": zigzag,
    "double": _DOUBLE.pack,
    "boolean": _boolean,
}
