from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoploss import ledger
from stoploss.errors import MalformedRecord
from stoploss.evidence import MAX_ROWS, NO_SEGMENT, PACKED, block_columns
from stoploss.intake.rows import Coded, ProjectedRows, build_blocks, concatenate, encoded_bytes
from stoploss.ledger import EvidenceBlock, MetricColumn, SegmentColumn, Source
from stoploss.metrics import LARGEST, MISSING

SOURCES = tuple(Source("traces", "uuid", partition) for partition in range(300))
GATES = ("pii_exposed", "privilege_escalation")


def rows(count: int, seed: int = 0, sources: tuple[Source, ...] = SOURCES[:2], tenants: int = 5) -> ProjectedRows:
    """Rows of every kind: with and without segments, gates and metrics."""
    rng = np.random.default_rng(seed)
    gates = rng.choice([0, 0, 0, 1, 2, 3], count).astype(np.uint32)
    columns: dict[str, Any] = {
        "source": rng.integers(0, len(sources), count).astype(np.int32),
        "offset": np.arange(count),
        "unit": rng.integers(0, 2**64, count, dtype=np.uint64),
        "trace": rng.integers(0, 2**64, count, dtype=np.uint64),
        "variant": rng.choice([0, 1, 255], count).astype(np.uint8),
        "at": rng.integers(-(2**62), 2**62, count),
        "start": rng.integers(-(2**62), 2**62, count),
        "stamp_run": rng.integers(-1, 5, count).astype(np.int32),
        "stamp_epoch": rng.integers(-1, 5, count).astype(np.int32),
        "gates": gates,
    }
    values = np.where(rng.random(count) < 0.2, MISSING, rng.integers(-LARGEST, LARGEST, count, endpoint=True))
    return ProjectedRows(
        "checkout",
        "hash",
        outcomes=False,
        sources=sources,
        gate_names=GATES,
        gate_details=tuple(f"row {row}" for row in np.flatnonzero(gates)),
        columns=columns,
        segments={"tenant": Coded(tuple(f"t{i}" for i in range(tenants)), rng.integers(-1, tenants, count, np.int32))},
        metrics={"latency_ms": values},
        units={"latency_ms": "us"},
    )


def readable(whole: ProjectedRows) -> list[tuple[object, ...]]:
    """Each row with its codes resolved, for comparing."""
    details = iter(whole.gate_details)
    segment = whole.segments["tenant"]
    return [
        (
            whole.sources[whole.columns["source"][row]],
            *(int(whole.columns[name][row]) for name in PACKED if name != "source"),
            segment.values[segment.codes[row]] if segment.codes[row] >= 0 else None,
            int(whole.metrics["latency_ms"][row]),
            next(details) if whole.columns["gates"][row] else None,
        )
        for row in range(whole.rows)
    ]


def read_back(blocks: list[EvidenceBlock]) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for block in blocks:
        columns, details = block_columns(block), iter(block.gate_details)
        tenant = columns.segments["tenant"]
        found += [
            (
                block.sources[columns.source[row]],
                *(int(getattr(columns, name)[row]) for name in PACKED if name != "source"),
                tenant.values[tenant.codes[row]] if tenant.codes[row] != NO_SEGMENT else None,
                int(columns.metrics["latency_ms"][row]),
                next(details) if columns.gates[row] else None,
            )
            for row in range(columns.rows)
        ]
    return found


@given(
    count=st.integers(1, 60),
    seed=st.integers(0, 1_000),
    max_rows=st.integers(1, 70),
    max_bytes=st.integers(500, 6_000),
    parts=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_blocks_cut_anywhere_hold_the_same_rows_in_their_order(
    count: int, seed: int, max_rows: int, max_bytes: int, parts: int
) -> None:
    several = [rows(count, seed + part, SOURCES[part : part + 2], tenants=3 + part) for part in range(parts)]
    blocks = build_blocks(concatenate(several), max_bytes, max_rows)
    assert read_back(blocks) == [row for part in several for row in readable(part)]
    assert all(block.rows <= max_rows for block in blocks)
    for block in blocks:
        assert len(ledger.encode(block)) <= encoded_bytes(block)
        assert block.rows == 1 or encoded_bytes(block) <= max_bytes


def test_a_block_survives_the_ledger() -> None:
    (block,) = build_blocks(rows(50))
    assert ledger.decode(ledger.encode(block)) == block


def test_blocks_stay_below_the_limits_of_the_ledger() -> None:
    blocks = build_blocks(rows(30_000, tenants=20_000))
    assert sum(block.rows for block in blocks) == 30_000
    assert all(block.rows <= MAX_ROWS and len(ledger.encode(block)) <= 450_000 for block in blocks)


def test_more_sources_than_a_block_can_name_are_split() -> None:
    many = rows(600, sources=SOURCES)
    many = replace(many, columns={**many.columns, "source": np.arange(600, dtype=np.int32) % 300})
    assert read_back(build_blocks(many)) == readable(many)


def test_no_rows_make_no_block() -> None:
    assert build_blocks(rows(0)) == []


def test_rows_of_different_specs_do_not_mix() -> None:
    with pytest.raises(ValueError, match="group them by key"):
        concatenate([rows(1), replace(rows(1), spec_hash="other")])


def _metric(values: np.ndarray) -> dict[str, Any]:
    return {"metrics": (MetricColumn("latency_ms", "us", values.astype("<i8").tobytes()),)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rows": 0}, "has 0 rows"),
        ({"rows": 8_193}, "has 8193 rows"),
        ({"rows": 4}, "has 3 bytes in column 'source'; 4 rows take 4"),
        ({"offset": b"1234567"}, "has 7 bytes in column 'offset'; 3 rows take 24"),
        ({"source": b"\x00\x00\x02"}, "names source 2; it lists 2"),
        ({"variant": b"\x00\x01\x02"}, "variant codes"),
        ({"gates": b"\x04\x00\x00\x00" * 3}, "sets gate bits 100; it names 2 gates"),
        ({"gates": b"\x01\x00\x00\x00" * 3, "gate_details": ("one",)}, "has 1 gate details for 3 rows"),
        (
            {"segments": (SegmentColumn("tenant", ("a",), b"\x00\x00\x01\x00\xff\xff"),)},
            "codes in 'tenant' beyond its 1",
        ),
        ({"segments": (SegmentColumn("tenant", ("a",), b"\x00\x00"),)}, "has 2 bytes in column 'tenant'"),
        (_metric(np.array([0, LARGEST + 1, 0])), "values in 'latency_ms' beyond"),
        (_metric(np.array([0, -LARGEST - 1, MISSING])), "values in 'latency_ms' beyond"),
        (_metric(np.array([0, 0])), "has 16 bytes in column 'latency_ms'"),
    ],
)
def test_a_block_that_contradicts_itself_is_refused(change: dict[str, Any], reason: str) -> None:
    (block,) = build_blocks(rows(3, seed=5))
    with pytest.raises(MalformedRecord, match=r"evidence block of experiment 'checkout'") as refusal:
        block_columns(replace(block, **change))
    assert reason in str(refusal.value)


def test_columns_cannot_be_changed_by_who_reads_them() -> None:
    columns = block_columns(build_blocks(rows(3))[0])
    with pytest.raises(ValueError, match="read-only"):
        columns.offset[0] = 7
