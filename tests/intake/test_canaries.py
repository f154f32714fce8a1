"""The canary at intake: projected for the judge like any trace, and stored for nobody."""

from __future__ import annotations

from stoploss.canary import PREFIX, SERVICE, VARIANT, canary_of, is_canary
from stoploss.emit.assignment import Assignment
from stoploss.emit.encoding import encode_trace
from stoploss.evidence import CONTROL, block_columns
from stoploss.intake.canaries import canaries
from stoploss.intake.results import IntakeResult, RawRecord
from stoploss.intake.rows import build_blocks
from stoploss.intake.watched import Watched
from stoploss.ledger import Source
from tests.intake.alone import process_traces
from tests.intake.records import NAME, SALT, assigned, avro, experiment, trace

SOURCE = Source("stoploss.traces", "uuid", 0)
NOW = 1_790_000_000_000_000


def canary(*partitions: int) -> bytes:
    assignments = [Assignment(canary_of(partition), VARIANT) for partition in partitions]
    return encode_trace({"trace_id": "c", "at": NOW, "service": SERVICE, "assignments": assignments}).value


def fed(*values: bytes) -> IntakeResult:
    watched = {NAME: Watched.of(experiment(), 1), **canaries(range(2))}
    records = [RawRecord(offset, value, NOW // 1_000) for offset, value in enumerate(values)]
    return process_traces(records, SOURCE, watched, salt=SALT, now_micros=NOW)


def test_one_canary_is_a_row_of_control_in_every_ledger_partition_that_it_names() -> None:
    result = fed(canary(0, 1))
    assert set(result.rows) == {canary_of(0), canary_of(1)}
    for rows in result.rows.values():
        [block] = build_blocks(rows)
        assert block_columns(block).variant.tolist() == [CONTROL]
        assert not block.gate_details


def test_among_traces_it_is_neither_stored_nor_counted_as_nobodys_nor_as_unknown() -> None:
    mine = [avro(trace(trace_id=f"t{n}", at=NOW, assignments=[assigned("small")])) for n in range(3)]
    result = fed(mine[0], canary(1), mine[1], canary(0), mine[2])
    assert result.clean["offset"].to_list() == [0, 2, 4]
    assert (result.counts.valid, result.counts.unassigned, result.counts.unknown_experiment) == (5, 0, {})
    assert result.rejects == []


def test_a_canary_of_a_partition_that_this_intake_does_not_know_is_counted_and_judged_by_nobody() -> None:
    result = fed(canary(7))
    assert result.rows == {}
    assert result.counts.unknown_experiment == {canary_of(7): 1}


def test_a_canary_is_known_by_its_name() -> None:
    assert is_canary(canary_of(3))
    assert not is_canary("checkout")
    assert canary_of(12) == f"{PREFIX}12"
