"""Rows to Arrow IPC streams and back. A part is small enough to be held in memory, an archive need not be."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl

from stoploss.archive.manifest import Kind, Part, sum_of
from stoploss.errors import ArchiveUnreadable

MOST_ROWS, MOST_BYTES = 100_000, 32_000_000
"""Of a part, whichever comes first; the row that reaches it is still in."""

COLUMNS: dict[Kind, pl.Schema] = {
    "ledger": pl.Schema({"offset": pl.Int64, "at_micros": pl.Int64, "value": pl.Binary}),
    "journal": pl.Schema({"value": pl.Binary}),
    "commands": pl.Schema({"value": pl.Binary, "signature": pl.String}),
    "checkpoints": pl.Schema({"value": pl.Binary, "signature": pl.String}),
}
"""Rows are in the order of the topic; `value` is the exact bytes of the record, `at_micros` the broker's time."""

Row = tuple[Any, ...]


def pieces(kind: Kind, rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows of a kind, cut into parts."""
    place = list(COLUMNS[kind]).index("value")
    piece: list[Row] = []
    size_bytes = 0
    for row in rows:
        piece.append(row)
        size_bytes += len(row[place])
        if len(piece) >= MOST_ROWS or size_bytes >= MOST_BYTES:
            yield piece
            piece, size_bytes = [], 0
    if piece:
        yield piece


def to_stream(kind: Kind, rows: Sequence[Row]) -> bytes:
    """An Arrow IPC stream with zstd buffers, in the old string layout, which every reader of Arrow knows."""
    out = io.BytesIO()
    frame = pl.DataFrame(rows, schema=COLUMNS[kind], orient="row")
    frame.write_ipc_stream(out, compression="zstd", compat_level=pl.CompatLevel.oldest())
    return out.getvalue()


def part_of(kind: Kind, number: int, rows: int, data: bytes) -> Part:
    return Part(name=f"{kind}-{number:04}.arrow", kind=kind, rows=rows, size_bytes=len(data), sha256=sum_of(data))


def rows_of(part: Part, data: bytes) -> Iterator[Row]:
    """The rows of a part whose sum is right; raises ArchiveUnreadable where it is all the same no such stream."""
    frame = _frame(part, data)
    if frame.schema != COLUMNS[part.kind] or len(frame) != part.rows:
        raise ArchiveUnreadable(
            f"part {part.name}: expected {part.rows} rows of {_text(COLUMNS[part.kind])}, "
            f"found {len(frame)} of {_text(frame.schema)}"
        )
    return frame.iter_rows()


def _frame(part: Part, data: bytes) -> pl.DataFrame:
    try:
        return pl.read_ipc_stream(io.BytesIO(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise ArchiveUnreadable(
            f"part {part.name}: its sum is right, but it is no Arrow IPC stream: {error}"
        ) from error


def _text(schema: pl.Schema) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in schema.items())
