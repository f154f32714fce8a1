"""Masked, validated traces and outcomes on their way from intake to the recorder: one Arrow IPC stream per record."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from stoploss.errors import MalformedRecord
from stoploss.store import schema

CleanKind = Literal["traces", "outcomes"]
KIND_KEY = b"stoploss.kind"
LARGE_BYTES = 500_000
# A pool of threads only adds waiting to it.
READ = pa.ipc.IpcReadOptions(use_threads=False)
PLAIN, FAST, SMALL = (pa.ipc.IpcWriteOptions(compression=codec, use_threads=False) for codec in (None, "lz4", "zstd"))
# Microseconds since 1970-01-01 UTC: 1900-01-01 and 2299-12-31.
DATETIME64_RANGE = (-2_208_988_800_000_000, 10_413_705_600_000_000)
REQUIRED = frozenset({"trace_id", "at", "topic_uuid", "partition", "offset"})


@dataclass(frozen=True, slots=True)
class Clean:
    """A record of traces_clean: which table it is for, and its rows."""

    kind: CleanKind
    rows: pa.Table

    @property
    def frame(self) -> pl.DataFrame:
        return cast(pl.DataFrame, pl.from_arrow(self.rows))


def clean_to_bytes(frame: pl.DataFrame, kind: CleanKind = "traces") -> bytes:
    """The frame as an Arrow IPC stream, its kind in the stream's metadata. Columns without any value are left out:
    whoever reads it knows them all the same, and most traces have a third of what a trace may have.

    A large one is compressed, or long texts would exceed what a producer takes as one record: with lz4, for zstd takes
    half of the room and seven times as long. A single row can be cut no further, so it is made as small as it can be.
    To compress each of the many buffers of a small frame takes longer than all else, and Kafka's own compression finds
    the same.
    """
    table = arrow_of(_held(frame)).replace_schema_metadata({KIND_KEY: kind.encode()})
    out = io.BytesIO()
    options = PLAIN if table.nbytes < LARGE_BYTES else FAST if table.num_rows > 1 else SMALL
    with pa.ipc.new_stream(out, table.schema, options=options) as writer:
        writer.write_table(table)
    return out.getvalue()


def _held(frame: pl.DataFrame) -> pl.DataFrame:
    held = [column.name for column in frame.iter_columns() if column.null_count() < frame.height]
    return frame[held] if held else frame


def clean_from_bytes(value: bytes | None) -> Clean:
    """Raises MalformedRecord where the value is no such stream."""
    if not value:
        raise MalformedRecord("the value is empty; traces_clean carries Arrow IPC streams")
    try:
        table = pa.ipc.open_stream(value, options=READ).read_all()
        table.validate()
    except (pa.ArrowException, OSError) as error:
        raise MalformedRecord(f"the value is no Arrow IPC stream: {error}") from error
    kind = (table.schema.metadata or {}).get(KIND_KEY, b"").decode(errors="replace")
    if kind not in get_args(CleanKind):
        raise MalformedRecord(f"the stream's {KIND_KEY.decode()} is {kind!r}; it must be traces or outcomes")
    return Clean(cast(CleanKind, kind), table)


def joined(some: Sequence[Clean]) -> Clean:
    """Rows of one kind, one after the other; null where some lack a column. Raises MalformedRecord where their types
    differ."""
    try:
        rows = pa.concat_tables([clean.rows for clean in some], promote_options="default").combine_chunks()
    except pa.ArrowException as error:
        raise MalformedRecord(f"rows of {some[0].kind} cannot be put together: {error}") from error
    return Clean(some[0].kind, rows)


def table_of(clean: Clean) -> pa.Table:
    """The rows as the columns of their table.

    What they lack, or has no value of, becomes null, and where the table knows no null its empty value: no
    text, false, ordinal 0. A column that the table lacks is left out, so that an older recorder goes on under a newer
    intake. Raises MalformedRecord where a REQUIRED column lacks a value, or a column is of another type.
    """
    fields = [field.with_nullable(True) for field in schema.tables()[clean.kind]]
    return pa.Table.from_arrays([_column(clean.rows, field) for field in fields], schema=pa.schema(fields))


def _column(source: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    known = field.name in source.column_names
    column = source.column(field.name) if known else pa.chunked_array([pa.nulls(len(source), field.type)])
    if field.name in REQUIRED and column.null_count:
        raise MalformedRecord(
            f"{column.null_count} of {len(source)} rows have no {field.name!r}, which every row needs"
        )
    try:
        cast_column = column.cast(field.type)
    except (pa.ArrowException, ValueError) as error:
        raise MalformedRecord(f"column {field.name!r} is {column.type}, its table's {field.type}: {error}") from error
    return _within_range(cast_column) if pa.types.is_timestamp(field.type) else cast_column


def _within_range(at: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times that only a broken sender has, at the nearest end of what DateTime64 holds: readers fail on others."""
    earliest, latest = DATETIME64_RANGE
    micros = pc.min_element_wise(pc.max_element_wise(at.cast(pa.int64()), earliest), latest)
    return micros.cast(at.type)


def arrow_of(frame: pl.DataFrame) -> pa.Table:
    # Not polars' newest string layout: ClickHouse and older readers do not know it.
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
