"""An evidence block as numpy columns: what the judge folds, checked once where it enters.

The packed bytes of a block come from another process, so nothing about them is believed: lengths, codes, gate bits and
the bound on metrics (which keeps sums below 2**53) are checked here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoploss.errors import MalformedRecord
from stoploss.ledger import EvidenceBlock
from stoploss.metrics import LARGEST, METRICS, MISSING

MAX_ROWS = 8_192
NO_SEGMENT = 65_535
CONTROL, TREATMENT, UNDECLARED = 0, 1, 255
MAX_SOURCES = 256

# One line per packed column of a block: its field, and how a row of it is packed.
PACKED: dict[str, np.dtype[Any]] = {
    "source": np.dtype("u1"),
    "offset": np.dtype("<i8"),
    "unit": np.dtype("<u8"),
    "trace": np.dtype("<u8"),
    "variant": np.dtype("u1"),
    "at": np.dtype("<i8"),
    "start": np.dtype("<i8"),
    "stamp_run": np.dtype("<i4"),
    "stamp_epoch": np.dtype("<i4"),
    "gates": np.dtype("<u4"),
}
CODE = np.dtype("<u2")
VALUE = np.dtype("<i8")


@dataclass(frozen=True, slots=True)
class Segments:
    """One dimension of the rows: values[codes[i]] is the value of row i; code 65535 says that it has none."""

    values: tuple[str, ...]
    codes: npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Columns:
    """The rows of a block, all arrays of one length and read-only.

    source       index into the block's sources
    offset       in the source partition
    unit         salted hash of the randomisation unit
    trace        hash of the trace id
    variant      0 control, 1 treatment, 255 a variant that the spec does not declare
    at, start    microseconds since 1970-01-01 UTC: when the last token left, when the request began
    stamp_run, stamp_epoch  as the service stamped them, -1 where it did not
    gates        bit i: gate i of the block's gate_names
    segments     by dimension
    metrics      by column name ("latency_ms:log"), integers of the column's unit; metrics.MISSING: the row has none
    """

    source: npt.NDArray[np.uint8]
    offset: npt.NDArray[np.int64]
    unit: npt.NDArray[np.uint64]
    trace: npt.NDArray[np.uint64]
    variant: npt.NDArray[np.uint8]
    at: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    stamp_run: npt.NDArray[np.int32]
    stamp_epoch: npt.NDArray[np.int32]
    gates: npt.NDArray[np.uint32]
    segments: Mapping[str, Segments]
    metrics: Mapping[str, npt.NDArray[np.int64]]

    @property
    def rows(self) -> int:
        return self.offset.size


def block_columns(block: EvidenceBlock) -> Columns:
    """The columns of a block, without copying them; raises MalformedRecord where they contradict themselves."""
    if not 1 <= block.rows <= MAX_ROWS:
        raise _malformed(block, f"has {block.rows} rows; a block has 1 to {MAX_ROWS}")
    packed = {name: _unpack(block, name, getattr(block, name), dtype) for name, dtype in PACKED.items()}
    _check_codes(block, packed)
    return Columns(
        **packed,
        segments={column.dimension: _segments(block, column.dimension, column) for column in block.segments},
        metrics={column.name: _metric(block, column.name, column.values) for column in block.metrics},
    )


def _malformed(block: EvidenceBlock, what: str) -> MalformedRecord:
    return MalformedRecord(f"evidence block of experiment {block.experiment!r} {what}")


def _unpack(block: EvidenceBlock, name: str, packed: bytes, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    wanted = block.rows * dtype.itemsize
    if len(packed) != wanted:
        raise _malformed(block, f"has {len(packed)} bytes in column {name!r}; {block.rows} rows take {wanted}")
    return np.frombuffer(packed, dtype)


def _check_codes(block: EvidenceBlock, packed: Mapping[str, npt.NDArray[Any]]) -> None:
    if int(packed["source"].max()) >= len(block.sources):
        raise _malformed(block, f"names source {packed['source'].max()}; it lists {len(block.sources)}")
    variant = packed["variant"]
    if not ((variant <= TREATMENT) | (variant == UNDECLARED)).all():
        raise _malformed(block, f"has variant codes {np.unique(variant).tolist()}; known are 0, 1 and 255")
    gates = packed["gates"]
    if int(gates.max()) >> len(block.gate_names):
        raise _malformed(block, f"sets gate bits {int(gates.max()):b}; it names {len(block.gate_names)} gates")
    if np.count_nonzero(gates) != len(block.gate_details):
        raise _malformed(
            block, f"has {len(block.gate_details)} gate details for {np.count_nonzero(gates)} rows with a gate"
        )


def _segments(block: EvidenceBlock, dimension: str, column: Any) -> Segments:
    codes = _unpack(block, dimension, column.codes, CODE)
    beyond = int(codes.max()) >= len(column.values)
    if beyond and ((codes >= len(column.values)) & (codes != NO_SEGMENT)).any():
        raise _malformed(block, f"has codes in {dimension!r} beyond its {len(column.values)} values")
    return Segments(column.values, codes)


def _metric(block: EvidenceBlock, name: str, packed: bytes) -> npt.NDArray[np.int64]:
    values, (low, high) = _unpack(block, name, packed, VALUE), _bounds(name)
    within = int(values.max()) <= high and int(values.min()) >= low
    if not within and ((values != MISSING) & ((values > high) | (values < low))).any():
        raise _malformed(block, f"has values in {name!r} beyond {low:,} to {high:,}")
    return values


def _bounds(column: str) -> tuple[int, int]:
    """Least and largest value of a column: rates count 0 or 1; beyond ±LARGEST sums stop being exact."""
    metric = METRICS.get(column)
    return (0, 1) if metric is not None and metric.binary else (-LARGEST, LARGEST)
