"""Which traces were evidence of harm: the rows behind a breach, found again in the ledger by what the rule looked at.

A gate names its rows. Of a rate, the rows that count against it are the evidence. Of a mean, no single row is; the rows
furthest to the harmful side are given, and said to be that. A rule that counts people, silence or shares of traffic has
no such rows, and that is said as well.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stoploss import ledger
from stoploss.errors import WireError
from stoploss.evidence import TREATMENT, Columns, block_columns
from stoploss.experiment import Experiment
from stoploss.ledger import EvidenceBlock, Source
from stoploss.metrics import MISSING, column_name
from stoploss.replay import StoredEntry
from stoploss.review.cells import segment_text
from stoploss.review.words import quantity
from stoploss.store.rows import TimelineEntry

MOST = 200
"""Rows that are given of one finding: first of all that count against a rate or gate, or the furthest of a mean."""
OF_TRACES = frozenset({"gate", "guardrail", "regression", "budget"})
"""Rules that judge numbers of single traces."""

Places = npt.NDArray[np.intp]
IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Harmful:
    """A row of the ledger that was evidence of harm.

    finding        journal entry id of the breach
    outcome        the row is of an outcome: it stands in that topic, and its trace elsewhere
    why            in words, for people
    """

    finding: str
    source: Source
    offset: int
    ledger_offset: int
    outcome: bool
    rule: str
    metric: str
    segment: str | None
    why: str


@dataclass(frozen=True, slots=True)
class FoundRows:
    """Rows of one finding; `of` is how many there are in all, and `none_because` says why there are none."""

    finding: str
    rows: tuple[Harmful, ...]
    of: int
    none_because: str | None


@dataclass(frozen=True, slots=True)
class _Row:
    block: EvidenceBlock
    columns: Columns
    ledger_offset: int
    row: int
    against: int


def harmful_rows(
    finding: TimelineEntry, experiment: Experiment, begin: int, entries: Iterable[StoredEntry], end: int = -1
) -> FoundRows:
    """The rows behind a breach, among the ledger entries of its run.

    finding  a breach, as the journal has it
    begin    ledger offset at which its run began
    entries  of the ledger partition, in order; what lies outside of the run, or behind the finding, is passed over
    end      ledger offset up to which a gate's rows are taken beyond the finding: what was in flight did harm as well
    """
    if finding.rule not in OF_TRACES or finding.metric is None:
        why = f"rule {finding.rule!r} does not judge single traces, so none of them is evidence of this harm"
        return FoundRows(finding.entry_id, (), 0, why)
    look, count = _Look.at(finding, finding.metric, experiment), 0
    last = max(finding.ledger_offset, end) if finding.rule == "gate" else finding.ledger_offset
    furthest: list[_Row] = []
    for offset, block in _blocks(experiment.name, begin, last, entries):
        columns = block_columns(block)
        rows, against = look.against(block, columns)
        count += rows.size
        most = np.argsort(-against, kind="stable")[:MOST]
        found = [_Row(block, columns, offset, int(rows[at]), int(against[at])) for at in most.tolist()]
        # Stable: of equals, those that came first stay.
        furthest = heapq.nlargest(MOST, [*furthest, *found], key=lambda row: row.against) if found else furthest
    none = None if count else f"no row of the treatment in the ledger carries {finding.metric!r} of this finding"
    return FoundRows(finding.entry_id, tuple(look.told(row) for row in furthest), count, none)


def _blocks(
    experiment: str, begin: int, end: int, entries: Iterable[StoredEntry]
) -> Iterator[tuple[int, EvidenceBlock]]:
    """Of the experiment, from ledger offset `begin` to `end`. What the judge passed over is passed over here."""
    for entry in entries:
        if entry.offset > end:
            return
        if entry.offset < begin:
            continue
        try:
            fact = ledger.decode(entry.value)
        except WireError:
            continue
        if isinstance(fact, EvidenceBlock) and fact.experiment == experiment:
            yield entry.offset, fact


@dataclass(frozen=True, slots=True)
class _Look:
    """What is looked for: a gate's bit, a rate's harmful value, or the harmful side of a mean.

    sign  1: high values are harm, -1: low ones
    """

    finding: TimelineEntry
    metric: str
    binary: bool
    sign: int
    scale: int
    unit: str

    @classmethod
    def at(cls, finding: TimelineEntry, name: str, experiment: Experiment) -> _Look:
        metric = experiment.metric(name)
        guardrail = next((g for g in experiment.spec.guardrails if g.metric == name), None)
        better = guardrail.direction if guardrail else metric.better
        return cls(finding, name, metric.binary, 1 if better == "lower" else -1, metric.scale, metric.unit)

    def against(self, block: EvidenceBlock, columns: Columns) -> tuple[Places, IntArray]:
        """Rows that count against the treatment, and how much each does."""
        wanted = self._within(columns)
        if self.finding.rule == "gate":
            return _counted(wanted & _tripped(block, columns, self.metric))
        values = columns.metrics.get(self.metric, columns.metrics.get(column_name(self.metric, "log")))
        if values is None:
            return _counted(np.zeros(columns.rows, np.bool_))
        wanted &= values != MISSING
        if self.binary:
            return _counted(wanted & (values == (1 if self.sign > 0 else 0)))
        rows = np.flatnonzero(wanted)
        return rows, self.sign * values[rows]

    def _within(self, columns: Columns) -> Mask:
        """Rows of the treatment, of the finding's run and segment."""
        stamped = columns.stamp_run
        wanted: Mask = (columns.variant == TREATMENT) & ((stamped < 0) | (stamped == self.finding.run))
        if self.finding.segment_dimension is not None:
            wanted &= _in_segment(columns, self.finding.segment_dimension, self.finding.segment_value)
        return wanted

    def told(self, row: _Row) -> Harmful:
        return Harmful(
            finding=self.finding.entry_id,
            source=row.block.sources[int(row.columns.source[row.row])],
            offset=int(row.columns.offset[row.row]),
            ledger_offset=row.ledger_offset,
            outcome=row.block.outcomes,
            rule=self.finding.rule or "",
            metric=self.metric,
            segment=segment_text(self.finding.segment_dimension, self.finding.segment_value),
            why=self._why(row),
        )

    def _why(self, row: _Row) -> str:
        if self.finding.rule == "gate":
            place = int(np.count_nonzero(row.columns.gates[: row.row]))
            return f"it tripped {self.metric}: {row.block.gate_details[place]}"
        if self.binary:
            return f"it counts against {self.metric}"
        side = "highest" if self.sign > 0 else "lowest"
        raw = row.columns.metrics.get(self.metric)
        value = "" if raw is None else f": {quantity(int(raw[row.row]) / self.scale, self.unit)}"
        return f"among the {side} {self.metric} of the treatment{value}"


def _counted(rows: Mask) -> tuple[Places, IntArray]:
    """Each counts the same."""
    places = np.flatnonzero(rows)
    return places, np.ones(places.size, np.int64)


def _tripped(block: EvidenceBlock, columns: Columns, gate: str) -> Mask:
    if gate not in block.gate_names:
        return np.zeros(columns.rows, np.bool_)
    return (columns.gates >> np.uint32(block.gate_names.index(gate)) & np.uint32(1)).astype(np.bool_)


def _in_segment(columns: Columns, dimension: str, value: str | None) -> Mask:
    """A value that stands for many, such as 'other', is in no row's dictionary and matches none."""
    segments = columns.segments.get(dimension)
    if segments is None or value not in segments.values:
        return np.zeros(columns.rows, np.bool_)
    found: Mask = segments.codes == segments.values.index(value)
    return found
