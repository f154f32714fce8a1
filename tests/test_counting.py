from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stoploss.commands import Segment
from stoploss.counting import count, exposures_after
from stoploss.evidence import block_columns
from stoploss.ledger import EvidenceBlock, Source
from stoploss.rules.rows import Rows
from stoploss.segments import NO_CELL, PATIENCE
from stoploss.state import ExperimentState
from tests.timelines import SOURCE, Timeline, spec, traces, with_gate


def begun(extra: str = "segments: [tenant, language]") -> Timeline:
    return Timeline(spec(extra)).started()


def counted(timeline: Timeline, block: EvidenceBlock) -> Rows | None:
    return count(timeline.it, block, block_columns(block))


def some_block(timeline: Timeline, n: int = 10, **changes: Any) -> EvidenceBlock:
    [block] = timeline.blocks(traces(n, seed=1, users=1_000, tenant="acme"), **changes)
    return block


def test_all_rows_of_a_first_block_are_counted() -> None:
    timeline = begun()
    block = some_block(timeline, 30)
    rows = counted(timeline, block)
    assert rows is not None
    assert rows.size == 30
    assert rows.compared.all()
    assert rows.capped.all()
    assert rows.exposure
    assert rows.cells["tenant"].tolist() == [NO_CELL] * (PATIENCE - 1) + [0] * (31 - PATIENCE)
    assert rows.cells["language"].tolist() == [NO_CELL] * 30


def test_each_source_has_a_watermark_of_its_own() -> None:
    timeline = begun()
    second = Source(SOURCE.topic, SOURCE.topic_uuid, 1)
    source = np.array([0, 1] * 5, np.uint8)
    offset = np.array([0, 90, 1, 91, 2, 92, 3, 93, 4, 94], "<i8")
    block = some_block(timeline, sources=(SOURCE, second), source=source.tobytes(), offset=offset.tobytes())
    assert counted(timeline, block) is not None
    assert timeline.it.watermarks == {SOURCE.key: 4, second.key: 94}


def test_what_is_at_or_below_a_watermark_is_dropped_and_never_what_lies_above() -> None:
    timeline = begun()
    assert counted(timeline, some_block(timeline)) is not None
    offset = np.arange(5, 15, dtype="<i8").tobytes()
    trace = np.arange(900, 910, dtype="<u8").tobytes()
    rows = counted(timeline, some_block(timeline, offset=offset, trace=trace))
    assert rows is not None
    assert rows.size == 5


def test_a_repeat_is_no_refusal() -> None:
    """Repeats are how delivery works; only what was lost is worth a word."""
    timeline = begun()
    block = some_block(timeline)
    counted(timeline, block)
    assert counted(timeline, block) is None
    assert timeline.it.refused == {}


def outcome_state(timeline: Timeline) -> ExperimentState:
    counted(timeline, some_block(timeline))
    return timeline.it


def test_outcomes_of_a_known_trace_are_no_repeats_of_it_and_no_exposures() -> None:
    timeline = begun()
    outcome_state(timeline)
    block = some_block(timeline, outcomes=True, trace=np.arange(1 << 40, (1 << 40) + 10, dtype="<u8").tobytes())
    rows = counted(timeline, block)
    assert rows is not None
    assert (rows.size, rows.exposure, bool(rows.first.any())) == (10, False, False)


def test_a_traces_cap_is_not_used_up_by_its_outcomes() -> None:
    timeline = begun()
    unit = np.full(10, 77, "<u8").tobytes()
    for outcomes in (True, False):
        rows = counted(timeline, some_block(timeline, outcomes=outcomes, unit=unit))
        assert rows is not None
        assert rows.capped.all()
    assert timeline.it.cap.counts[77] == timeline.it.outcome_cap.counts[77] == 10


def test_details_of_gates_follow_their_rows_through_every_trim() -> None:
    timeline = begun()
    some = traces(6, seed=1)
    some = with_gate(with_gate(some, 1, 0, "first"), 4, 0, "second")
    some.variant[0] = 255
    [block] = timeline.blocks(some)
    timeline.it.watermarks[SOURCE.key] = 1
    rows = counted(timeline, block)
    assert rows is not None
    assert rows.details == {2: "second"}
    assert np.flatnonzero(rows.gates).tolist() == [2]


def test_rows_of_a_stopped_segment_are_compared_in_neither_arm() -> None:
    timeline = begun()
    counted(timeline, some_block(timeline, PATIENCE))
    timeline.it.desired.stopped_segments.append(Segment("tenant", "acme"))
    rows = counted(timeline, some_block(timeline))
    assert rows is not None
    assert not rows.compared.any()
    assert not rows.capped.any()


@pytest.mark.parametrize(("decided", "in_flight", "after"), [(0, 0, 4), (25, 2, 2), (40, 4, 0)])
def test_exposures_are_in_flight_or_after_by_when_the_request_began(decided: int, in_flight: int, after: int) -> None:
    timeline = begun()
    start = np.array([10, 10, 20, 20, 30, 30, 40, 40], "<i8")
    variant = np.array([0, 1] * 4, np.uint8)
    block = some_block(timeline, 8, start=start.tobytes(), variant=variant.tobytes())
    rows = counted(timeline, block)
    assert rows is not None
    found = exposures_after(rows, decided)
    assert (found.in_flight, found.after_stop) == (in_flight, after)
    assert found.last_at == (40 if after else None)
