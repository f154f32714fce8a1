"""Clean frames on the wire: what goes in comes out, and what is none is refused with its reason."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from stoploss.errors import MalformedRecord
from stoploss.store.arrow import Clean, CleanKind, arrow_of, clean_from_bytes, clean_to_bytes, table_of
from tests.store import samples


@pytest.mark.parametrize(
    ("kind", "frame"), [("traces", samples.traces_frame(range(7))), ("outcomes", samples.outcomes_frame(range(3)))]
)
def test_a_clean_frame_survives_its_bytes(kind: CleanKind, frame: pl.DataFrame) -> None:
    clean = clean_from_bytes(clean_to_bytes(frame, kind))
    assert clean.kind == kind
    held = [column.name for column in frame.iter_columns() if not column.is_null().all()]  # nobody misses the others
    assert_frame_equal(clean.frame, frame.select(held))
    assert table_of(clean).equals(table_of(Clean(kind, arrow_of(frame))))


def test_an_empty_frame_survives_its_bytes() -> None:
    clean = clean_from_bytes(clean_to_bytes(samples.traces_frame(range(3)).clear()))
    assert len(table_of(clean)) == 0


@pytest.mark.parametrize("cut", [0, 1, 9, 200, -1])
def test_a_cut_stream_is_refused(cut: int) -> None:
    whole = clean_to_bytes(samples.traces_frame(range(50)))
    with pytest.raises(MalformedRecord):
        clean_from_bytes(whole[: cut if cut >= 0 else len(whole) // 2])


def test_a_stream_of_another_kind_is_refused() -> None:
    out = io.BytesIO()
    table = pa.table({"a": [1]})
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(MalformedRecord, match="must be traces or outcomes"):
        clean_from_bytes(out.getvalue())


def test_columns_that_only_a_newer_intake_knows_are_left_out() -> None:
    frame = samples.traces_frame(range(2))
    newer = frame.with_columns(shiny=pl.lit(1))
    assert table_of(Clean("traces", arrow_of(newer))).equals(table_of(Clean("traces", arrow_of(frame))))


def test_a_column_of_another_type_is_refused_by_name() -> None:
    frame = samples.traces_frame(range(2)).with_columns(latency_ms=pl.lit("fast"))
    with pytest.raises(MalformedRecord, match="latency_ms"):
        table_of(Clean("traces", arrow_of(frame)))


@pytest.mark.parametrize("column", ["trace_id", "at", "topic_uuid", "partition", "offset"])
def test_a_row_without_its_place_or_time_is_refused_by_name(column: str) -> None:
    frame = samples.traces_frame(range(2))
    with pytest.raises(MalformedRecord, match=f"no '{column}'"):
        table_of(Clean("traces", arrow_of(frame.drop(column))))


@pytest.mark.parametrize(("micros", "year"), [(-(2**62), 1900), (0, 1970), (2**62, 2299)])
def test_a_time_that_clickhouse_cannot_hold_is_moved_to_the_nearest_it_can(micros: int, year: int) -> None:
    late = samples.traces_frame([0]).with_columns(at=pl.lit(micros, pl.Int64))
    table = table_of(Clean("traces", arrow_of(late)))
    kept = datetime.fromtimestamp(table.column("at").cast(pa.int64())[0].as_py() // samples.SECOND, UTC)
    assert kept.year == year
