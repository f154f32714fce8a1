"""Many Kafka values of one record type to one polars frame, and those that cannot be read to their reasons.

Values are grouped by the schema that their framing names. A group is read as one guarded block (block.py). When that
fails, it is cut into pieces, and the pieces that fail are read one by one with fastavro, which says what is wrong with
the faulty ones: no record is lost for its neighbours' sake, and a single bad one does not cost the batch its speed.
Whatever the framing and the writer's version, the frame has the columns of the current schema.

One difference between the two readers remains for encoders that break the Avro specification: the block reader takes
an int beyond 32 bits cut to 32, a union index beyond the union as its value, and a boolean byte above 1 inside an array
as false; one by one, the first is refused, the second too, and the third reads as true.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import fastavro
import numpy as np
import numpy.typing as npt
import polars as pl

from stoploss.errors import MalformedRecord, UnknownSchema, WireError
from stoploss.wire import schemas
from stoploss.wire.block import is_columnar, read_block, shape
from stoploss.wire.framing import SINGLE_OBJECT, SINGLE_OBJECT_SIZE, framing_of
from stoploss.wire.json_records import Record, conform, parse_object
from stoploss.wire.records import UNREADABLE
from stoploss.wire.refusals import Code
from stoploss.wire.schemas import Schema

LARGEST_VALUE_BYTES = 1 << 20
LARGEST_BLOCK_BYTES = 2 << 20
LARGE_DATUM_BYTES = 64 << 10
MOST_ITEMS = 10_000
MOST_ASSIGNMENTS_READ = 16
PIECES = 8
SINGLY = 128

Resolver = Callable[[int], Schema | None]
"""Schema of a Confluent schema id; None where the registry has none (or has not answered yet)."""

Positions = npt.NDArray[np.int64]
_NONE: Positions = np.zeros(0, np.int64)
_FAULTS = (*UNREADABLE, MalformedRecord)


@dataclass(frozen=True, slots=True)
class Refused:
    """A value that could not be read.

    position     index among the values given
    code         kind of fault
    reason       what is wrong and the way out
    assignments  (experiment, variant) pairs, where they could be read all the same
    """

    position: int
    code: Code
    reason: str
    assignments: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Decoded:
    """What could be read, in the order given: row i of the frame is value positions[i]."""

    frame: pl.DataFrame
    positions: Positions
    refused: list[Refused]


def decode_values(values: Sequence[bytes | None], name: str, resolve: Resolver | None = None) -> Decoded:
    """Values of record type `name` ("trace", "outcome") as one frame with the columns of its current schema."""
    groups, unframed = _grouped(values)
    parts = [
        _moved(_read_group(mark, [values[place] or b"" for place in places], name, resolve), places)
        for mark, places in groups.items()
    ]
    read = _joined(parts, name)
    return replace(read, refused=sorted([*unframed, *read.refused], key=lambda fault: fault.position))


@cache
def columns_of(name: str) -> dict[str, pl.DataType]:
    """Columns of a record type's frame, by the current schema."""
    return {field["name"]: _dtype(field["type"]) for field in schemas.schema(name).source["fields"]}


def _dtype(schema: Any) -> pl.DataType:
    if isinstance(schema, list):
        return _dtype(next(branch for branch in schema if branch != "null"))
    if isinstance(schema, str):
        plain = {"string": pl.String(), "long": pl.Int64(), "int": pl.Int32(), "double": pl.Float64()}
        return plain.get(schema) or pl.Boolean()
    match schema["type"]:
        case "record":
            return pl.Struct({field["name"]: _dtype(field["type"]) for field in schema["fields"]})
        case "array":
            return pl.List(_dtype(schema["items"]))
        case "enum":
            return pl.String()
        case other:
            return _dtype(other)


def _grouped(values: Sequence[bytes | None]) -> tuple[dict[bytes, list[int]], list[Refused]]:
    """Positions by what their framing names: the framing's first bytes, up to and including the schema's mark."""
    groups: dict[bytes, list[int]] = {}
    refused = []
    for position, value in enumerate(values):
        if value and len(value) <= LARGEST_VALUE_BYTES and (group := groups.get(value[:SINGLE_OBJECT_SIZE])):
            group.append(position)  # nearly all: the mark of an earlier one
            continue
        try:
            groups.setdefault(_mark(value), []).append(position)
        except MalformedRecord as error:
            refused.append(Refused(position, _framing_code(value), str(error)))
    return groups, refused


def _mark(value: bytes | None) -> bytes:
    if value is not None and len(value) > LARGEST_VALUE_BYTES:
        raise MalformedRecord(
            f"the value has {len(value)} bytes; at most {LARGEST_VALUE_BYTES} are read: cut its texts"
        )
    framing = framing_of(value)
    assert value is not None
    return value[: framing.size] or b"{"


def _framing_code(value: bytes | None) -> Code:
    if not value:
        return "empty"
    return "too_large" if len(value) > LARGEST_VALUE_BYTES else "unknown_framing"


def _read_group(mark: bytes, values: list[bytes], name: str, resolve: Resolver | None) -> Decoded:
    """Values of one framing and schema; positions count within the group."""
    if mark == b"{":
        return _without_long_lists(_read_json(values, name), values, name)
    try:
        writer = _writer(mark, name, resolve)
    except WireError as error:
        return Decoded(_empty(name), _NONE, [Refused(i, "unknown_schema", str(error)) for i in range(len(values))])
    datums = [value[len(mark) :] for value in values]
    if _reads_in_columns(writer, name):
        return _read_datums(writer, datums, name)
    return _without_long_lists(_read_singly(writer, datums, name), datums, name)


def _read_datums(writer: Schema, datums: list[bytes], name: str) -> Decoded:
    if len(datums) > 1 and sum(map(len, datums)) > LARGEST_BLOCK_BYTES:
        return _read_in_pieces(writer, datums, name)
    try:
        read = Decoded(_canonical(read_block(writer, datums), name), np.arange(len(datums)), [])
    except MalformedRecord as error:  # by one of them: which one, and why, is said where they are read singly
        if len(datums) > SINGLY:
            return _read_in_pieces(writer, datums, name)
        return _read_apart(writer, datums, name, error)
    return _without_long_lists(read, datums, name)


def _read_in_pieces(writer: Schema, datums: list[bytes], name: str) -> Decoded:
    step = -(-len(datums) // PIECES)
    starts = range(0, len(datums), step)
    return _joined([_moved(_read_datums(writer, datums[s : s + step], name), range(s, s + step)) for s in starts], name)


def _read_apart(writer: Schema, datums: list[bytes], name: str, error: MalformedRecord) -> Decoded:
    """Singly; a large one in a block of its own, since half a million attributes are as many dicts to fastavro."""
    if len(datums) == 1 and len(datums[0]) > LARGE_DATUM_BYTES:
        reason = f"the datum is no whole {writer.source['name']}: {error}"
        return Decoded(_empty(name), _NONE, [Refused(0, "malformed_avro", reason)])
    large = [place for place, datum in enumerate(datums) if len(datum) > LARGE_DATUM_BYTES]
    small = [place for place, datum in enumerate(datums) if len(datum) <= LARGE_DATUM_BYTES]
    parts = [_moved(_read_singly(writer, [datums[place] for place in small], name), small)]
    parts += [_moved(_read_datums(writer, [datums[place]], name), [place]) for place in large]
    return _joined(parts, name)


def _without_long_lists(read: Decoded, values: Sequence[bytes], name: str) -> Decoded:
    """A list longer than anybody means makes hundreds of megabytes of one: it goes no further. Its items have at least
    two bytes each, so small values need no look."""
    if max(map(len, values), default=0) <= 2 * MOST_ITEMS:
        return read
    lists = [column for column, dtype in columns_of(name).items() if isinstance(dtype, pl.List)]
    longest = (
        read.frame.select_seq(pl.max_horizontal(pl.col(column).list.len() for column in lists)).to_series().to_numpy()
    )
    kept = longest <= MOST_ITEMS
    refused = [_too_long(read, row, int(longest[row])) for row in np.flatnonzero(~kept).tolist()]
    if not refused:
        return read
    return Decoded(read.frame.filter(pl.Series(kept)), read.positions[kept], [*read.refused, *refused])


def _too_long(read: Decoded, row: int, longest: int) -> Refused:
    reason = f"one of its lists has {longest:,} items; at most {MOST_ITEMS:,} are read"
    assigned = read.frame["assignments"][row][:MOST_ASSIGNMENTS_READ]
    pairs = tuple((item["experiment"], item["variant"]) for item in assigned)
    return Refused(int(read.positions[row]), "too_many_items", reason, pairs)


def _writer(mark: bytes, name: str, resolve: Resolver | None) -> Schema:
    writer = schemas.by_fingerprint(mark[2:]) if mark[:2] == SINGLE_OBJECT else _registered(mark, resolve)
    wanted = schemas.schema(name).source["name"]
    if writer.source["name"] != wanted:
        raise UnknownSchema(f"the value is a {writer.source['name']}; this topic carries {wanted} records")
    return writer


def _registered(mark: bytes, resolve: Resolver | None) -> Schema:
    schema_id = int.from_bytes(mark[1:], "big")
    if resolve is None:
        raise UnknownSchema(
            f"the value names schema id {schema_id} of a schema registry, and none is configured; "
            "configure the registry's address, or send Avro single-object encoding"
        )
    schema = resolve(schema_id)
    if schema is None:
        raise UnknownSchema(
            f"the schema registry has no schema with id {schema_id}, or has not answered yet; "
            "once it has: stoploss deadletter retry --reason unknown_schema"
        )
    return schema


def _reads_in_columns(writer: Schema, name: str) -> bool:
    """Whether every field that the reader wants is written just so, or is missing and has a default, and the columnar
    reader knows the types of all others."""
    reader = schemas.schema(name)
    if writer.fingerprint == reader.fingerprint:
        return True
    if not is_columnar(writer.source):
        return False
    written = {field["name"]: shape(field["type"]) for field in writer.source["fields"]}
    return all(
        shape(field["type"]) == written[field["name"]] if field["name"] in written else "default" in field
        for field in reader.source["fields"]
    )


def _canonical(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """A writer's columns as the current schema has them."""
    written = {column.name: column for column in frame.iter_columns()}
    defaults = {field["name"]: field.get("default") for field in schemas.schema(name).source["fields"]}
    return pl.DataFrame(
        [
            _column(written[column], dtype)
            if column in written
            else pl.Series(column, [defaults[column]], dtype).new_from_index(0, frame.height)
            for column, dtype in columns_of(name).items()
        ]
    )


def _column(written: pl.Series, dtype: pl.DataType) -> pl.Series:
    """polars reads an enum as Categorical."""
    return written if written.dtype == dtype else written.cast(dtype)


def _read_singly(writer: Schema, datums: list[bytes], name: str) -> Decoded:
    records, kept, refused = [], [], []
    for position, datum in enumerate(datums):
        try:
            records.append(conform(_read_datum(writer, datum, name), name))
            kept.append(position)
        except _FAULTS as error:
            reason = f"the datum is no whole {writer.source['name']}: {str(error) or type(error).__name__}"
            refused.append(Refused(position, "malformed_avro", reason))
    return Decoded(_frame(records, name), np.asarray(kept, np.int64), refused)


def _read_datum(writer: Schema, datum: bytes, name: str) -> Record:
    reader = schemas.schema(name)
    resolved = None if writer.fingerprint == reader.fingerprint else reader.parsed
    data = io.BytesIO(datum)
    record = fastavro.schemaless_reader(data, writer.parsed, resolved)
    if rest := len(datum) - data.tell():
        raise MalformedRecord(f"{rest} bytes follow it; a value holds exactly one datum")
    if not isinstance(record, dict):
        raise MalformedRecord(f"it is a {type(record).__name__}")
    return record


def _read_json(values: list[bytes], name: str) -> Decoded:
    records, kept, refused = [], [], []
    for position, value in enumerate(values):
        parsed: Record = {}
        try:
            parsed = parse_object(value)
            records.append(conform(parsed, name))
            kept.append(position)
        except MalformedRecord as error:
            refused.append(Refused(position, "malformed_json", str(error), _assignments_of(parsed)))
    return Decoded(_frame(records, name), np.asarray(kept, np.int64), refused)


def _assignments_of(parsed: Record) -> tuple[tuple[str, str], ...]:
    """The assignments of an object that is faulty elsewhere: its rejection may bias an experiment."""
    listed = parsed.get("assignments")
    if not isinstance(listed, list):
        return ()
    pairs = [(item.get("experiment"), item.get("variant")) for item in listed if isinstance(item, dict)]
    named = [(e, v) for e, v in pairs if isinstance(e, str) and isinstance(v, str)]
    return tuple(named[:MOST_ASSIGNMENTS_READ])


def _frame(records: list[Record], name: str) -> pl.DataFrame:
    return pl.from_dicts(records, schema=columns_of(name)) if records else _empty(name)


def _empty(name: str) -> pl.DataFrame:
    return pl.DataFrame(schema=columns_of(name))


def _moved(part: Decoded, places: Sequence[int]) -> Decoded:
    """A part of the values, with its positions as places among all of them."""
    refused = [replace(fault, position=places[fault.position]) for fault in part.refused]
    return Decoded(part.frame, np.asarray(places, np.int64)[part.positions], refused)


def _joined(parts: list[Decoded], name: str) -> Decoded:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Decoded(_empty(name), _NONE, [])
    frame = pl.concat([part.frame for part in parts])
    positions = np.concatenate([part.positions for part in parts])
    refused = [fault for part in parts for fault in part.refused]
    if (positions[1:] > positions[:-1]).all():
        return Decoded(frame, positions, refused)
    order = np.argsort(positions)
    return Decoded(frame[order], positions[order], refused)
