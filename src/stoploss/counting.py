"""From a block's columns to the rows that rules fold: trimmed of repeats, sorted out by epoch, counted by unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stoploss.arrays import indices
from stoploss.commands import Segment
from stoploss.evidence import UNDECLARED, Columns
from stoploss.journal import NOT_DECLARED
from stoploss.ledger import EvidenceBlock
from stoploss.metrics import UNDECLARED_SERVING
from stoploss.outcome_ids import outcome_ids
from stoploss.rules.rows import Rows
from stoploss.segments import NO_CELL
from stoploss.state import ExperimentState

Mask = npt.NDArray[np.bool_]

NOT_COMPARED = "not compared: served otherwise than declared"


def count(state: ExperimentState, block: EvidenceBlock, columns: Columns) -> Rows | None:
    """The rows of a block that are judged, or None where none is left; what is left out is counted by cause."""
    new = _beyond_watermarks(state, block, columns)
    if block.spec_hash != state.spec_hash:
        _refuse(state, "projected under another spec", new)
        return None
    if block.outcomes:
        said = outcome_ids(columns.trace[new], columns.at[new], {n: x[new] for n, x in columns.metrics.items()})
        new = _first_time(state, new, state.recent_outcomes.fresh(said), "outcome sent before")
    else:
        new = _first_time(state, new, state.recent.fresh(columns.trace[new]), "trace sent before")
    undeclared = new & (columns.variant == UNDECLARED)
    _refuse(state, NOT_DECLARED, undeclared)
    keep = indices(new & ~undeclared)
    return _rows(state, block, columns, keep) if keep.size else None


def _beyond_watermarks(state: ExperimentState, block: EvidenceBlock, columns: Columns) -> Mask:
    """Rows not counted yet: a source's rows arrive in order and without gaps, so the highest offset says it all."""
    new = np.zeros(columns.rows, np.bool_)
    for code, source in enumerate(block.sources):
        mine = columns.source == code
        if not mine.any():
            continue
        before = state.watermarks.get(source.key, -1)
        beyond = mine & (columns.offset > before)
        state.current.sight.see(source.key, new=bool(beyond.any()), traces=not block.outcomes)
        new |= beyond
        state.watermarks[source.key] = max(before, int(columns.offset[mine].max()))
    return new


def _first_time(state: ExperimentState, new: Mask, fresh: Mask, cause: str) -> Mask:
    """fresh: which of the new rows have not come under another offset."""
    first = np.zeros_like(new)
    first[new] = fresh
    _refuse(state, cause, new & ~first)
    return first


def _refuse(state: ExperimentState, cause: str, rows: Mask) -> None:
    if number := int(np.count_nonzero(rows)):
        state.refused[cause] = state.refused.get(cause, 0) + number


def _rows(state: ExperimentState, block: EvidenceBlock, columns: Columns, keep: npt.NDArray[np.int64]) -> Rows:
    unit = columns.unit[keep]
    cells = _cells(state, columns, keep)
    comparable = _in_open_epoch(state, columns, keep) & ~_in_stopped_segments(state, cells, keep.size)
    compared = comparable & _served_as_declared(state, block, columns, keep)
    _refuse(state, NOT_COMPARED, comparable & ~compared)
    first, capped = np.zeros(keep.size, np.bool_), np.zeros(keep.size, np.bool_)
    if block.outcomes:
        capped[compared] = state.outcome_cap.admit(unit[compared])
    else:
        first[comparable] = state.seen.first(unit[comparable])
        capped[compared] = state.cap.admit(unit[compared])
    return Rows(
        arm=columns.variant[keep].astype(np.int64),
        unit=unit,
        at=columns.at[keep],
        start=columns.start[keep],
        exposure=not block.outcomes,
        compared=compared,
        first=first,
        capped=capped,
        cells=cells,
        metrics={name: values[keep] for name, values in columns.metrics.items()},
        gates=columns.gates[keep],
        details=_details(block, columns, keep),
    )


def _cells(state: ExperimentState, columns: Columns, keep: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
    cells = {}
    for name, dimension in state.current.dimensions.items():
        segment = columns.segments.get(name)
        if name == "":
            cells[name] = np.zeros(keep.size, np.int64)
        elif segment is None:
            cells[name] = np.full(keep.size, NO_CELL, np.int64)
        else:
            cells[name] = dimension.cells_of(segment.values, segment.codes[keep])
    return cells


def _in_open_epoch(state: ExperimentState, columns: Columns, keep: npt.NDArray[np.int64]) -> Mask:
    """Rows stamped with the epoch, and rows without a stamp while it is open."""
    run, epoch = columns.stamp_run[keep], columns.stamp_epoch[keep]
    if state.run < 1:
        return np.zeros(keep.size, np.bool_)
    stamped: Mask = (run == state.run) & (epoch == state.epoch)
    unstamped: Mask = (run < 0) | (epoch < 0)
    return (stamped | unstamped) if state.epoch_open else np.zeros(keep.size, np.bool_)


def _in_stopped_segments(state: ExperimentState, cells: Mapping[str, npt.NDArray[np.int64]], size: int) -> Mask:
    """Rows of segments that were stopped: they leave both arms, or a stopped tenant would stay in control alone."""
    inside = np.zeros(size, np.bool_)
    for segment in state.desired.stopped_segments:
        inside |= in_segment(state, cells, segment, size)
    return inside


def in_segment(state: ExperimentState, cells: Mapping[str, npt.NDArray[np.int64]], segment: Segment, size: int) -> Mask:
    """Which of so many rows are of the segment."""
    dimension = state.current.dimensions.get(segment.dimension)
    if dimension is None or segment.value not in dimension.cells:
        return np.zeros(size, np.bool_)
    inside: Mask = cells[segment.dimension] == dimension.cells[segment.value]
    return inside


def _served_as_declared(
    state: ExperimentState, block: EvidenceBlock, columns: Columns, keep: npt.NDArray[np.int64]
) -> Mask:
    """False for traces that were served by something else than their variant declares, and for their outcomes.

    They are exposures, spend budgets and trip gates, but to compare them would be to compare another variant.
    """
    served = np.ones(keep.size, np.bool_)
    if state.experiment.serving is None:
        return served
    trace = columns.trace[keep]
    if block.outcomes:
        return ~state.served_otherwise.holds(trace)
    if UNDECLARED_SERVING in columns.metrics:
        served = columns.metrics[UNDECLARED_SERVING][keep] != 1
        if not served.all():
            state.served_otherwise.fresh(trace[~served])
    return served


def _details(block: EvidenceBlock, columns: Columns, keep: npt.NDArray[np.int64]) -> dict[int, str]:
    """Gate details by index of the kept row; the block lists them for its rows with a gate, in order."""
    tripped = indices(columns.gates).tolist()
    if not tripped:
        return {}
    place = {row: index for index, row in enumerate(keep.tolist())}
    return {place[row]: detail for row, detail in zip(tripped, block.gate_details, strict=True) if row in place}


@dataclass(frozen=True, slots=True)
class Exposures:
    """Treatment requests of an entry that ended after a stop: begun before the decision, and after it."""

    in_flight: int
    after_stop: int
    last_at: int | None


def exposures_after(rows: Rows, decided_at: int) -> Exposures:
    treated = rows.start[rows.arm == 1] if rows.exposure else rows.start[:0]
    late = treated[treated > decided_at]
    return Exposures(treated.size - late.size, late.size, int(late.max()) if late.size else None)
