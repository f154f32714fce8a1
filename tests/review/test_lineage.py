"""From a finding back to topic, partition and offset of the traces behind it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from stoploss.errors import MalformedRecord
from stoploss.ledger import EvidenceBlock, Source, Tick
from stoploss.review import chain
from stoploss.review.cells import Cells
from stoploss.review.lineage import TrippedTrace, led_to_commands, lineage_of, named, traces_sql
from stoploss.store.rows import TraceOrigin
from tests.review.rows import NOW, finding
from tests.timelines import SOURCE, Timeline, traces, with_gate

GATE = chain.findings([finding(1, rule="gate", metric="pii_exposed")], 1, Cells(20))[0]
GUARDRAIL = chain.findings([finding(1)], 1, Cells(20))[0]


def block(gated_rows: tuple[int, ...] = (), bit: int = 0) -> EvidenceBlock:
    some = traces(8, seed=1)
    for row in gated_rows:
        some = with_gate(some, row, bit)
    (made,) = Timeline().blocks(some)
    return made


def test_a_block_names_its_traces_by_source_and_offset() -> None:
    two = replace(block(), sources=(SOURCE, Source("stoploss.traces", "uuid-of-traces", 1)))
    two = replace(two, source=np.array([0, 1, 0, 1, 0, 1, 1, 1], np.uint8).tobytes())
    found = lineage_of(GUARDRAIL, two)
    assert [(r.partition, r.first_offset, r.last_offset, r.traces) for r in found.ranges] == [
        (0, 0, 4, 3),
        (1, 1, 7, 5),
    ]
    assert (found.fact, found.tripped) == ("evidence_block", ())


def test_a_gate_names_the_traces_that_tripped_it_and_no_others() -> None:
    found = lineage_of(GATE, block((2, 5)))
    assert [trace.offset for trace in found.tripped] == [2, 5]
    assert lineage_of(GATE, block((2, 5), bit=1)).tripped == ()


def test_of_many_traces_that_tripped_a_gate_the_first_few_are_named() -> None:
    assert [trace.offset for trace in lineage_of(GATE, block(tuple(range(8)))).tripped] == [0, 1, 2, 3, 4]


def test_tripped_traces_get_their_ids_from_what_is_stored() -> None:
    origin = TraceOrigin("t-2", NOW, "stoploss.traces", 0, 2, ["small"], None)
    found = named(lineage_of(GATE, block((2, 5))), [origin])
    assert [trace.trace_id for trace in found.tripped] == ["t-2", None]
    assert found.tripped_offsets("uuid-of-traces", 0) == [2, 5]
    assert found.tripped_offsets("uuid-of-traces", 1) == []


def test_a_tick_and_an_entry_that_is_gone_have_no_traces_to_name() -> None:
    assert lineage_of(GUARDRAIL, Tick(0, "judge")).fact == "tick"
    assert lineage_of(GUARDRAIL, None).fact == "not stored"


def test_a_block_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(MalformedRecord):
        lineage_of(GUARDRAIL, replace(block(), offset=b"\x00"))


def test_only_findings_that_led_to_a_command_are_followed() -> None:
    both = chain.findings([finding(1), finding(2)], 1, Cells(20))
    assert led_to_commands(both, ["entry-2", None]) == [both[1]]


def test_what_tripped_a_gate_may_be_a_shadow_run() -> None:
    shown = traces_sql(TrippedTrace("t", "uuid", 0, 7, None), "stoploss")
    assert re.findall(r"FROM stoploss\.(\w+)", shown) == ["traces_v", "shadow_traces_v"]


def test_the_statement_that_shows_traces_quotes_what_it_is_given() -> None:
    (traces_of,) = lineage_of(GUARDRAIL, replace(block(), sources=(Source("t", "it's \\", 0),))).ranges
    assert traces_sql(traces_of, "stoploss") == (
        "SELECT * FROM stoploss.traces_v WHERE topic_uuid = 'it\\'s \\\\' AND partition = 0 AND offset BETWEEN 0 AND 7"
    )
