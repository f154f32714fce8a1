"""Rows of one experiment, gathered over batches and sources, and cut into evidence blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from stoploss.evidence import CODE, MAX_ROWS, MAX_SOURCES, NO_SEGMENT, PACKED, VALUE
from stoploss.ledger import EvidenceBlock, MetricColumn, SegmentColumn, Source

MAX_BLOCK_BYTES = 450_000
NONE = -1

Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Coded:
    """A dictionary-coded column: values[codes[i]] is the value of row i; -1 says that it has none."""

    values: tuple[str, ...]
    codes: Codes

    def take(self, rows: npt.NDArray[Any] | slice) -> Coded:
        return Coded(self.values, self.codes[rows])

    def compact(self) -> Coded:
        """Without the values that no row has."""
        used = np.unique(self.codes)
        used = used[used != NONE]
        codes = np.searchsorted(used, self.codes).astype(np.int32)
        return Coded(tuple(self.values[code] for code in used), np.where(self.codes == NONE, NONE, codes))


@dataclass(frozen=True, slots=True)
class ProjectedRows:
    """Rows as an evidence block has them, but for packing; `columns` has one array per name of evidence.PACKED.

    outcomes      false: rows of traces; true: rows of outcomes
    gate_details  for the rows with a gate, in order
    units         unit of each metric column's integers
    """

    experiment: str
    spec_hash: str
    outcomes: bool
    sources: tuple[Source, ...]
    gate_names: tuple[str, ...]
    gate_details: tuple[str, ...]
    columns: Mapping[str, npt.NDArray[Any]]
    segments: Mapping[str, Coded]
    metrics: Mapping[str, npt.NDArray[np.int64]]
    units: Mapping[str, str]

    @property
    def rows(self) -> int:
        return int(self.columns["offset"].size)

    @property
    def key(self) -> tuple[str, str, bool]:
        """Rows of equal key can stand in one block."""
        return (self.experiment, self.spec_hash, self.outcomes)


def by_source(rows: ProjectedRows) -> list[ProjectedRows]:
    """The rows of each source by themselves, in the order of `sources`; rows of one source stand together."""
    bounds = np.searchsorted(rows.columns["source"], np.arange(len(rows.sources) + 1)).tolist()
    before = np.concatenate([[0], np.cumsum(rows.columns["gates"] != 0)])
    return [
        _of_source(rows, number, slice(start, stop), slice(int(before[start]), int(before[stop])))
        for number, (start, stop) in enumerate(pairwise(bounds))
    ]


def _of_source(rows: ProjectedRows, number: int, part: slice, tripped: slice) -> ProjectedRows:
    columns = {name: column[part] for name, column in rows.columns.items()}
    return replace(
        rows,
        sources=(rows.sources[number],),
        gate_details=rows.gate_details[tripped],
        columns={**columns, "source": np.zeros(part.stop - part.start, np.int32)},
        segments={name: column.take(part) for name, column in rows.segments.items()},
        metrics={name: values[part] for name, values in rows.metrics.items()},
    )


def concatenate(parts: Sequence[ProjectedRows]) -> ProjectedRows:
    """Rows of one key, one part after the other; raises ValueError where the keys differ."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if {part.key for part in parts} != {first.key}:
        raise ValueError(f"rows of {sorted({part.key for part in parts})} cannot stand in one block: group them by key")
    sources = tuple(dict.fromkeys(source for part in parts for source in part.sources))
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in PACKED if name != "source"}
    return ProjectedRows(
        *first.key,
        sources=sources,
        gate_names=first.gate_names,
        gate_details=tuple(detail for part in parts for detail in part.gate_details),
        columns={"source": np.concatenate([_recoded_sources(part, sources) for part in parts]), **columns},
        segments={name: concatenate_coded([part.segments[name] for part in parts]) for name in first.segments},
        metrics={name: np.concatenate([part.metrics[name] for part in parts]) for name in first.metrics},
        units=first.units,
    )


def _recoded_sources(part: ProjectedRows, sources: tuple[Source, ...]) -> npt.NDArray[np.int32]:
    place = np.array([sources.index(source) for source in part.sources], np.int32)
    recoded: npt.NDArray[np.int32] = place[part.columns["source"]]
    return recoded


def concatenate_coded(parts: Sequence[Coded]) -> Coded:
    place: dict[str, int] = {}
    codes = [_placed(part, place) for part in parts]
    return Coded(tuple(place), np.concatenate(codes))


def _placed(part: Coded, place: dict[str, int]) -> Codes:
    """Codes of a part in a growing common dictionary; code -1 picks the last entry of the map, which is -1."""
    mapped = [place.setdefault(value, len(place)) for value in part.values]
    moved: Codes = np.array([*mapped, NONE], np.int32)[part.codes]
    return moved


def build_blocks(
    rows: ProjectedRows, max_bytes: int = MAX_BLOCK_BYTES, max_rows: int = MAX_ROWS
) -> list[EvidenceBlock]:
    """The rows, in order, as blocks of at most `max_rows` rows and, encoded, at most `max_bytes` bytes.

    A block of a single row is made even if it is larger: intake bounds every value of a row.
    """
    packed_bytes = sum(dtype.itemsize for dtype in PACKED.values())
    row_bytes = packed_bytes + CODE.itemsize * len(rows.segments) + VALUE.itemsize * len(rows.metrics)
    step = max(1, min(max_rows, MAX_ROWS, max_bytes // row_bytes))
    blocks: list[EvidenceBlock] = []
    for start in range(0, rows.rows, step):
        blocks += _fitting(rows, start, min(start + step, rows.rows), max_bytes)
    return blocks


def _fitting(rows: ProjectedRows, start: int, stop: int, max_bytes: int) -> Iterator[EvidenceBlock]:
    """Halves a stretch of rows until it fits."""
    crowded = np.unique(rows.columns["source"][start:stop]).size > MAX_SOURCES
    block = None if crowded else _block(rows, slice(start, stop))
    if block is not None and (stop - start == 1 or encoded_bytes(block) <= max_bytes):
        yield block
        return
    middle = (start + stop) // 2
    yield from _fitting(rows, start, middle, max_bytes)
    yield from _fitting(rows, middle, stop, max_bytes)


def encoded_bytes(block: EvidenceBlock) -> int:
    """At least the block's size on the wire; counted, not encoded. A length takes at most 5 bytes, here 10."""
    strings = [block.experiment, block.spec_hash, *block.gate_names, *block.gate_details]
    strings += [text for source in block.sources for text in (source.topic, source.topic_uuid)]
    strings += [text for column in block.segments for text in (column.dimension, *column.values)]
    strings += [text for metric in block.metrics for text in (metric.name, metric.unit)]
    packed = [getattr(block, name) for name in PACKED]
    packed += [column.codes for column in block.segments] + [metric.values for metric in block.metrics]
    return sum(len(text.encode()) + 10 for text in strings) + sum(len(part) + 10 for part in packed) + 256


def _block(rows: ProjectedRows, part: slice) -> EvidenceBlock:
    columns = {name: rows.columns[name][part] for name in PACKED}
    used, columns["source"] = np.unique(columns["source"], return_inverse=True)
    before = int(np.count_nonzero(rows.columns["gates"][: part.start]))
    tripped = int(np.count_nonzero(columns["gates"]))
    packed: dict[str, Any] = {name: columns[name].astype(dtype).tobytes() for name, dtype in PACKED.items()}
    return EvidenceBlock(
        *rows.key[:2],
        rows=part.stop - part.start,
        outcomes=rows.outcomes,
        sources=tuple(rows.sources[index] for index in used),
        gate_names=rows.gate_names,
        gate_details=rows.gate_details[before : before + tripped],
        segments=tuple(_segment_column(name, column.take(part)) for name, column in rows.segments.items()),
        metrics=tuple(
            MetricColumn(name, rows.units[name], values[part].astype(VALUE).tobytes())
            for name, values in rows.metrics.items()
        ),
        **packed,
    )


def _segment_column(dimension: str, column: Coded) -> SegmentColumn:
    compact = column.compact()
    codes = np.where(compact.codes == NONE, NO_SEGMENT, compact.codes).astype(CODE)
    return SegmentColumn(dimension, compact.values, codes.tobytes())
