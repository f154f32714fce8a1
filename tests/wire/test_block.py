from __future__ import annotations

import io

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoploss.errors import MalformedRecord
from stoploss.wire import schemas
from stoploss.wire.block import read_block, zigzag
from tests.intake.records import datum, trace

TRACE = schemas.schema("trace")
FLAT = datum(trace(trace_id="flat"))
FULL = datum(
    trace(
        trace_id="full",
        output_text="Größe — 大きさ",
        scores=[{"name": "helpfulness", "value": 0.5}],
        steps=[{"kind": "tool", "name": "search", "side_effect": True}],
        attributes=[{"key": "tier", "value": "gold"}],
    )
)


def test_datums_come_back_as_rows_in_their_order() -> None:
    frame = read_block(TRACE, [FLAT, FULL, FLAT])
    assert frame["trace_id"].to_list() == ["flat", "full", "flat"]
    assert frame["output_text"].to_list() == [None, "Größe — 大きさ", None]
    assert frame["steps"].to_list()[1][0]["side_effect"] is True


def test_flags_come_back_as_booleans() -> None:
    frame = read_block(TRACE, [FLAT, datum(trace(pii_exposed=True))])
    assert frame["pii_exposed"].to_list() == [False, True]


def test_a_flag_byte_that_is_neither_0_nor_1_is_refused() -> None:
    """polars alone would read it as false, and a safety flag would be lost."""
    raised, lowered = datum(trace(privilege_escalation=True)), datum(trace())
    place = next(i for i, (a, b) in enumerate(zip(raised, lowered, strict=True)) if a != b)
    with pytest.raises(MalformedRecord, match="privilege_escalation"):
        read_block(TRACE, [FLAT, raised[:place] + b"\x02" + raised[place + 1 :]])


@pytest.mark.parametrize("bad", [FULL[:-1], FULL[:40], b"", FULL + b"\x00", FULL + FULL])
def test_a_datum_too_short_or_too_long_is_refused(bad: bytes) -> None:
    with pytest.raises(MalformedRecord):
        read_block(TRACE, [FLAT, bad, FLAT])


def test_two_datums_that_only_together_are_whole_are_refused() -> None:
    """Without the guard between them they would read as one row each, from the wrong bytes."""
    with pytest.raises(MalformedRecord):
        read_block(TRACE, [FLAT[:-3], FLAT[-3:] + FLAT])


@pytest.mark.parametrize("claimed", [-1, 2**31, 2**33, 2**40, 2**62])
def test_a_length_that_is_claimed_but_not_there_is_refused(claimed: int) -> None:
    with pytest.raises(MalformedRecord):
        read_block(TRACE, [zigzag(claimed) + FLAT[1:], FLAT])


@given(st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=100, deadline=None)
def test_zigzag_writes_what_fastavro_reads(number: int) -> None:
    assert fastavro.schemaless_reader(io.BytesIO(zigzag(number)), fastavro.parse_schema("long"), None) == number
