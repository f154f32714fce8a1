"""From a finding back to the traces behind it: what the ledger entry that led to it holds, by source and offset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stoploss.evidence import Columns, block_columns
from stoploss.ledger import SCHEMA_OF, EvidenceBlock, Fact
from stoploss.review.chain import FindingLine, Place
from stoploss.store.rows import TraceOrigin

MOST_TRIPPED = 5
NOT_STORED = "not stored"
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TraceRange:
    """Traces of one source partition that the entry carried: `traces` of them, at offsets first to last."""

    topic: str
    topic_uuid: str
    partition: int
    first_offset: int
    last_offset: int
    traces: int


@dataclass(frozen=True, slots=True)
class TrippedTrace:
    """A trace that tripped the gate; trace_id None: its row is not stored (any more)."""

    topic: str
    topic_uuid: str
    partition: int
    offset: int
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """What stands behind a finding.

    fact     kind of the ledger entry: evidence_block, tick, …; 'not stored' where it is not in ClickHouse
    ranges   of an evidence block: the traces that it carried
    tripped  of a gate: the traces that tripped it, the first few
    """

    place: Place
    fact: str
    ranges: tuple[TraceRange, ...]
    tripped: tuple[TrippedTrace, ...]

    def tripped_offsets(self, topic_uuid: str, partition: int) -> list[int]:
        """Of one source partition."""
        here = (topic_uuid, partition)
        return [trace.offset for trace in self.tripped if (trace.topic_uuid, trace.partition) == here]


def lineage_of(finding: FindingLine, fact: Fact | None) -> Lineage:
    """Raises MalformedRecord where the block contradicts itself, which no judge would have accepted.

    fact  the ledger entry that the finding names; None: not stored
    """
    if not isinstance(fact, EvidenceBlock):
        return Lineage(finding.place, SCHEMA_OF[type(fact)] if fact else NOT_STORED, (), ())
    columns = block_columns(fact)
    tripped = tuple(_tripped(fact, columns, finding.metric)) if finding.rule == "gate" else ()
    return Lineage(finding.place, SCHEMA_OF[EvidenceBlock], tuple(_ranges(fact, columns)), tripped)


def _ranges(block: EvidenceBlock, columns: Columns) -> Iterator[TraceRange]:
    for index, source in enumerate(block.sources):
        offsets = columns.offset[columns.source == index]
        if offsets.size:
            yield TraceRange(
                source.topic,
                source.topic_uuid,
                source.partition,
                int(offsets.min()),
                int(offsets.max()),
                offsets.size,
            )


def _tripped(block: EvidenceBlock, columns: Columns, gate: str | None) -> Iterator[TrippedTrace]:
    if gate not in block.gate_names:
        return
    hit: Mask = (columns.gates >> np.uint32(block.gate_names.index(gate)) & np.uint32(1)).astype(np.bool_)
    for row in np.flatnonzero(hit)[:MOST_TRIPPED].tolist():
        source = block.sources[int(columns.source[row])]
        yield TrippedTrace(source.topic, source.topic_uuid, source.partition, int(columns.offset[row]), None)


def named(lineage: Lineage, stored: Iterable[TraceOrigin]) -> Lineage:
    """The same, with the ids of the traces that are stored."""
    # By name: an origin has no UUID, and the caller asked by it.
    ids = {(trace.topic, trace.partition, trace.offset): trace.trace_id for trace in stored}
    tripped = tuple(replace(t, trace_id=ids.get((t.topic, t.partition, t.offset))) for t in lineage.tripped)
    return replace(lineage, tripped=tripped)


def led_to_commands(findings: Sequence[FindingLine], causes: Iterable[str | None]) -> list[FindingLine]:
    """The findings that commands were issued for."""
    wanted = set(causes)
    return [finding for finding in findings if finding.place.journal_entry_id in wanted]


def traces_sql(found: TraceRange | TrippedTrace, database: str) -> str:
    """A statement for ClickHouse that shows the traces; a shadow run may be what tripped a gate."""
    if isinstance(found, TrippedTrace):
        where = f"offset = {found.offset}"
    else:
        where = f"offset BETWEEN {found.first_offset} AND {found.last_offset}"
    uuid = found.topic_uuid.replace("\\", "\\\\").replace("'", "\\'")
    at = f"WHERE topic_uuid = '{uuid}' AND partition = {found.partition} AND {where}"
    tables = ("traces_v", "shadow_traces_v") if isinstance(found, TrippedTrace) else ("traces_v",)
    return " UNION ALL ".join(f"SELECT * FROM {database}.{table} {at}" for table in tables)
