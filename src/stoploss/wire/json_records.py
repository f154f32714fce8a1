"""JSON objects, and dicts that another reader made, held to an Avro schema: every fault names its field.

JSON is read as Avro readers read: a field that is missing takes its default, an unknown key is ignored. Beyond the
plain types, a time may be an ISO-8601 string with its offset, and a list of key/value or name/value pairs an object.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from stoploss.errors import MalformedRecord
from stoploss.wire import schemas

Record = dict[str, Any]
Convert = Callable[[Any, str], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT_BITS = {"int": 32, "long": 64}
_PAIR_KEYS = (("key", "value"), ("name", "value"))
_SHOWN = 40


def read_json(value: bytes, name: str) -> Record:
    """A JSON object as a record of the current schema `name`; raises MalformedRecord."""
    return conform(parse_object(value), name)


def parse_object(value: bytes) -> Record:
    """Bytes as one JSON object; NaN and Infinity, which Python's reader would take, are refused."""
    try:
        parsed = _DECODER.decode(value.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedRecord(f"the value is no JSON object: {error}") from error
    if not isinstance(parsed, dict):
        raise MalformedRecord(f"the value is a JSON {type(parsed).__name__}; send one object per record")
    return parsed


def conform(record: Record, name: str) -> Record:
    """A dict as a record of the current schema `name`: all its fields, each of its type; raises MalformedRecord."""
    converted: Record = _converter(name)(record, "")
    return converted


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number; leave the field out where the value is unknown")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
"""Made once: json.loads with an argument makes one for each value, which takes half as long as to read it."""


@cache
def _converter(name: str) -> Convert:
    return _compile(schemas.schema(name).source)


def _compile(schema: Any) -> Convert:
    if isinstance(schema, list):
        return _optional(schema)
    if isinstance(schema, str):
        return _plain(schema)
    match schema["type"]:
        case "record":
            return _record(schema)
        case "array":
            return _array(schema)
        case "enum":
            return _enum(schema["symbols"])
        case "long" if schema.get("logicalType") == "timestamp-micros":
            return _micros
        case other:
            return _compile(other)


def _plain(kind: str) -> Convert:
    if kind in _INT_BITS:
        return _integer(_INT_BITS[kind])
    return {"string": _string, "double": _double, "boolean": _boolean}[kind]


def _wrong(path: str, value: Any, wanted: str) -> MalformedRecord:
    return MalformedRecord(f"field {path or 'record'!r} is {_shown(value)}; it must be {wanted}")


def _shown(value: Any) -> str:
    """A list or object by its size alone: how deep it is nested is its sender's choice, and repr() follows."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    shown = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"


def _optional(branches: list[Any]) -> Convert:
    inner = _compile(next(branch for branch in branches if branch != "null"))
    return lambda value, path: None if value is None else inner(value, path)


def _integer(bits: int) -> Convert:
    limit = 1 << (bits - 1)

    def convert(value: Any, path: str) -> int:
        if type(value) is not int or not -limit <= value < limit:
            raise _wrong(path, value, f"a whole number of {bits} bits")
        return value

    return convert


def _micros(value: Any, path: str) -> int:
    if isinstance(value, str):
        return _micros_of(value, path)
    return int(_integer(64)(value, path))


def _micros_of(text: str, path: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _wrong(path, text, "microseconds since 1970, or ISO-8601 with an offset (2026-01-31T12:00:00Z)")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _double(value: Any, path: str) -> float:
    if type(value) not in (float, int):
        raise _wrong(path, value, "a number")
    try:
        return float(value)
    except OverflowError as error:
        raise _wrong(path, value, "a number that fits a double") from error


def _boolean(value: Any, path: str) -> bool:
    if type(value) is not bool:
        raise _wrong(path, value, "true or false")
    return value


def _string(value: Any, path: str) -> str:
    if type(value) is not str:
        raise _wrong(path, value, "a string")
    if not value.isascii():
        _check_unicode(value, path)
    return value


def _check_unicode(value: str, path: str) -> None:
    """JSON can spell half of a surrogate pair, which is no character and has no UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _wrong(path, value, "Unicode text, without unpaired surrogates") from error


def _enum(symbols: list[str]) -> Convert:
    known = frozenset(symbols)

    def convert(value: Any, path: str) -> str:
        if type(value) is not str or value not in known:
            raise _wrong(path, value, f"one of {', '.join(symbols)}")
        return value

    return convert


def _array(schema: Record) -> Convert:
    item = _compile(schema["items"])
    fields = _field_names(schema["items"])
    pair = next((keys for keys in _PAIR_KEYS if set(keys) == fields), None)

    def convert(value: Any, path: str) -> list[Any]:
        if pair and isinstance(value, dict):
            value = [{pair[0]: key, pair[1]: held} for key, held in value.items()]
        if not isinstance(value, list):
            raise _wrong(path, value, "a list or an object" if pair else "a list")
        return [item(held, f"{path}[{index}]") for index, held in enumerate(value)]

    return convert


def _field_names(items: Any) -> set[str]:
    return {field["name"] for field in items.get("fields", ())} if isinstance(items, dict) else set()


def _record(schema: Record) -> Convert:
    fields = [(field["name"], _compile(field["type"]), field) for field in schema["fields"]]

    def convert(value: Any, path: str) -> Record:
        if not isinstance(value, dict):
            raise _wrong(path, value, "an object")
        return {name: _member(value, name, inner, field, path) for name, inner, field in fields}

    return convert


def _member(record: Record, name: str, inner: Convert, field: Record, path: str) -> Any:
    if name in record:
        return inner(record[name], f"{path}.{name}" if path else name)
    if "default" not in field:
        raise MalformedRecord(f"field {f'{path}.{name}' if path else name!r} is missing; it has no default")
    return field["default"]
