"""Dataclasses to framed Avro and back: one codec for every record of the contract."""

from __future__ import annotations

import dataclasses
import io
import struct
import types
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import fastavro
from fastavro.read import SchemaResolutionError

from stoploss.errors import MalformedRecord
from stoploss.wire import schemas
from stoploss.wire.framing import framing_of, single_object

T = TypeVar("T")
AS_THEY_ARE = frozenset({str, int, float, bool, bytes, type(None)})
UNREADABLE = (
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    MemoryError,
    StopIteration,
    RecursionError,
    struct.error,
    SchemaResolutionError,
)
"""What fastavro raises, according to where a datum ends or goes wrong."""


def plain(value: Any) -> Any:
    """A dataclass as fastavro takes it: dicts, lists, enum values; a union's record with its name."""
    kind: Any = type(value)
    if kind in AS_THEY_ARE:
        return value
    if kind in (list, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if (fields := _fields(kind)) is None:
        return value
    return {
        name: item if type(item := getattr(value, name)) in AS_THEY_ARE else _member(item, union)
        for name, union in fields
    }


def _member(value: Any, union: bool) -> Any:
    return (f"dev.stoploss.{type(value).__name__}", plain(value)) if union else plain(value)


@cache
def _fields(kind: type[Any]) -> tuple[tuple[str, bool], ...] | None:
    """Names of a dataclass's fields; true for those marked `metadata={"union": True}`, which hold one of several
    records: Avro wants its name. None: it is no dataclass."""
    if not dataclasses.is_dataclass(kind):
        return None
    return tuple((field.name, bool(field.metadata.get("union"))) for field in dataclasses.fields(kind))


@cache
def _builder(hint: Any) -> Callable[[Any], Any]:
    """How a value that fastavro read becomes the hinted type."""
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _record_builder(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if origin in (tuple, list):
        item = _builder(args[0])
        return (lambda v: tuple(map(item, v))) if origin is tuple else (lambda v: list(map(item, v)))
    if origin in (Union, types.UnionType):
        return _union_builder(args)
    return lambda value: value


def _record_builder(hint: type[Any]) -> Callable[[Any], Any]:
    hints = get_type_hints(hint)
    builders = {field.name: _builder(hints[field.name]) for field in dataclasses.fields(hint)}
    return lambda record: hint(**{name: build(record[name]) for name, build in builders.items() if name in record})


def _union_builder(args: tuple[Any, ...]) -> Callable[[Any], Any]:
    members = [arg for arg in args if arg is not type(None)]
    if len(members) == 1:
        build = _builder(members[0])
        return lambda value: None if value is None else build(value)
    named = {f"dev.stoploss.{member.__name__}": _builder(member) for member in members}
    return lambda value: named[value[0]](value[1]) if isinstance(value, tuple) else value


def encode(name: str, record: Any) -> bytes:
    """A dataclass as framed Avro, by the current schema `name`; raises MalformedRecord if it does not fit."""
    schema = schemas.schema(name)
    out = io.BytesIO()
    try:
        fastavro.schemaless_writer(out, schema.parsed, plain(record), strict=True)
    except (ValueError, TypeError, OverflowError, KeyError, AttributeError) as error:
        raise MalformedRecord(f"{type(record).__name__} does not fit schema {name!r}: {error}") from error
    return single_object(schema.fingerprint, out.getvalue())


def decode(value: bytes | None, known: dict[str, type[T]], *, own: bool = False) -> T:
    """One framed Avro value as one of the known dataclasses, by schema name.

    own  stoploss's own workers have written it: a schema that this version does not know is looked up among theirs

    Another writer's version is resolved to the current schema. Trailing bytes are refused: fastavro accepts them.
    """
    framing = framing_of(value)
    assert value is not None
    if framing.kind != "single_object":
        raise MalformedRecord(f"this topic carries Avro single-object values, not {framing.kind}")
    writer = schemas.shared(framing.mark) if own else schemas.by_fingerprint(framing.mark)
    if writer.name not in known:
        raise MalformedRecord(f"a {writer.name!r} stands where one of {', '.join(sorted(known))} belongs")
    build: Callable[[Any], Any] = _builder(known[writer.name])  # type: ignore[arg-type]
    return cast(T, build(_read(value, framing.size, writer)))


def _read(value: bytes, start: int, writer: schemas.Schema) -> Any:
    reader = schemas.schema(writer.name)
    data = io.BytesIO(value)
    data.seek(start)
    resolve = None if writer.fingerprint == reader.fingerprint else reader.parsed
    try:
        record = fastavro.schemaless_reader(
            data, writer.parsed, resolve, return_record_name=True, return_record_name_override=True
        )
    except UNREADABLE as error:
        raise MalformedRecord(f"the datum is not a whole {writer.name!r}: {error or type(error).__name__}") from error
    if (rest := len(value) - data.tell()) > 0:
        raise MalformedRecord(f"{rest} bytes follow the {writer.name!r}; a value holds exactly one datum")
    return record
