from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from stoploss.evidence import CODE
from stoploss.intake.hashing import hash_ids, salted
from stoploss.intake.pipeline import read_traces
from stoploss.intake.results import Fetched
from stoploss.intake.rows import ProjectedRows, build_blocks, concatenate
from stoploss.intake.tallies import MOST_NAMES_COUNTED
from stoploss.ledger import SegmentColumn, Source
from stoploss.metrics import MISSING
from tests.intake.alone import process_traces
from tests.intake.records import (
    AT,
    NAME,
    SALT,
    SOURCE,
    as_json,
    assigned,
    avro,
    experiment,
    raw,
    rows_of,
    take_in,
    trace,
    watching,
)


def unit_hash(text: str, name: str = NAME) -> int:
    return int(salted(hash_ids(pl.Series([text]), "unit", SALT), name, SALT)[0])


def segment(rows: ProjectedRows, dimension: str) -> list[str | None]:
    column = rows.segments[dimension]
    return [column.values[code] if code >= 0 else None for code in column.codes]


def test_a_trace_becomes_a_row_with_everything_that_the_spec_names() -> None:
    rows = rows_of(
        trace(
            tenant="acme",
            language="de",
            attributes=[{"key": "tier", "value": "gold"}, {"key": "tier", "value": "second"}],
            latency_ms=250.5,
            cost_usd=0.002,
            input_tokens=10,
            output_tokens=20,
            error_type="timeout",
            scores=[{"name": "helpfulness", "value": 0.25}, {"name": "helpfulness", "value": 1.0}],
            assignments=[assigned("small", run=2, epoch=3)],
        )
    )
    columns = {name: int(values[0]) for name, values in rows.columns.items()}
    assert columns == {
        "source": 0,
        "offset": 100,
        "unit": unit_hash("user-1"),
        "trace": int(hash_ids(pl.Series(["t-1"]), "trace", SALT)[0]),
        "variant": 1,
        "at": AT,
        "start": AT - 250_500,
        "stamp_run": 2,
        "stamp_epoch": 3,
        "gates": 0,
    }
    assert {name: int(values[0]) for name, values in rows.metrics.items()} == {
        "latency_ms": 250_500,
        "latency_ms:log": 5_523_459,
        "error_rate": 1,
        "cost_usd": 2_000_000,
        "input_tokens": 10,
        "output_tokens": 20,
        "pii_suspected_rate": MISSING,
        "helpfulness": 250_000,
        "resolved": MISSING,
    }
    assert {name: segment(rows, name) for name in rows.segments} == {
        "tenant": ["acme"],
        "language": ["de"],
        "tier": ["gold"],
        "tenant×language": ["acme×de"],
    }
    assert rows.sources == (SOURCE,)


def test_what_a_trace_does_not_say_is_missing_and_never_zero() -> None:
    rows = rows_of(trace(latency_ms=None), trace(tenant="acme", attributes=[{"key": "other", "value": "x"}]))
    row = {name: int(values[0]) for name, values in rows.metrics.items()}
    assert row.pop("error_rate") == 0
    assert set(row.values()) == {MISSING}
    assert segment(rows, "tenant×language") == segment(rows, "tier") == [None, None]
    assert (rows.columns["stamp_run"][0], rows.columns["stamp_epoch"][0]) == (-1, -1)
    assert rows.columns["start"][0] == AT


def test_stamps_stand_beside_rows_that_have_none() -> None:
    rows = rows_of(trace(assignments=[assigned(run=3, epoch=1)]), trace(), trace(assignments=[assigned(run=-7)]))
    assert rows.columns["stamp_run"].tolist() == [3, -1, -1]


def test_a_variant_that_the_spec_does_not_declare_has_its_own_code() -> None:
    variants = ["current", "small", "ghost"]
    rows = rows_of(*(trace(assignments=[assigned(variant)]) for variant in variants))
    assert rows.columns["variant"].tolist() == [0, 1, 255]


def test_a_trace_of_several_experiments_is_a_row_in_each_with_unlinked_units() -> None:
    both = [assigned("small"), assigned("current", "other"), assigned("x", "unknown")]
    result = take_in(trace(), trace(assignments=both), watched=watching(experiment(), experiment(name="other")))
    assert result.rows[NAME].columns["offset"].tolist() == [100, 101]
    assert result.rows["other"].columns["offset"].tolist() == [101]
    assert result.rows["other"].columns["unit"][0] != result.rows[NAME].columns["unit"][1]
    assert result.rows["other"].columns["trace"][0] == result.rows[NAME].columns["trace"][1]
    assert result.counts.unknown_experiment == {"unknown": 1}


def units(kind: str, **fields: Any) -> int:
    result = take_in(trace(**fields), watched=watching(experiment(kind)))
    return int(result.rows[NAME].columns["unit"][0])


def test_the_unit_is_the_one_that_the_spec_randomises_by() -> None:
    ids = {"unit_id": "user-1", "conversation_id": "talk-1", "trace_id": "trace-1"}
    assert units("user", **ids) == unit_hash("user-1")
    assert units("session", **ids) == unit_hash("talk-1")
    assert units("trace", **ids) == unit_hash("trace-1")


def test_who_names_no_unit_is_one_of_their_own() -> None:
    assert units("user", unit_id=None, trace_id="t-9") == unit_hash("t-9")
    assert units("user", unit_id="", trace_id="t-9") == unit_hash("t-9")
    assert units("session", unit_id="user-1", conversation_id=None) == unit_hash("user-1")


def test_a_record_of_no_experiment_is_counted_and_never_stored() -> None:
    result = take_in(trace(assignments=[]), trace())
    assert result.counts.unassigned == 1
    assert result.counts.valid == 2
    assert result.clean["offset"].to_list() == [101]


def test_an_unknown_experiment_is_counted_by_name_stored_and_not_judged() -> None:
    result = take_in(trace(assignments=[assigned(name="newcomer")]), trace(assignments=[assigned(name="a\x00b")]))
    assert dict(result.rows) == {}
    assert result.counts.unknown_experiment == {"newcomer": 1, "invalid": 1}
    assert result.clean.height == 2


def test_names_from_traffic_cannot_grow_the_counts_without_bound() -> None:
    result = take_in(*(trace(assignments=[assigned(name=f"e-{place}")]) for place in range(200)))
    counted = result.counts.unknown_experiment
    assert len(counted) == MOST_NAMES_COUNTED + 1
    assert sum(counted.values()) == 200


def test_texts_are_stored_masked_with_the_classes_that_the_output_held() -> None:
    """P1"""
    result = take_in(
        trace(input_text="I am a@example.org", output_text="card 4111111111111111, ok"),
        trace(input_text="hello", output_text=None),
    )
    assert result.clean["input_text"].to_list() == ["I am [email]", "hello"]
    assert result.clean["output_text"].to_list() == ["card [card], ok", None]
    assert result.clean["pii_classes"].to_list() == [["card"], []]


def test_a_stored_row_says_where_it_stood() -> None:
    row = take_in(trace()).clean.to_dicts()[0]
    assert (row["topic"], row["topic_uuid"], row["partition"], row["offset"]) == (
        "stoploss.traces",
        "Zm9vYmFyYmF6",
        3,
        100,
    )
    assert (row["broker_at"], row["quarantined"], row["trace_id"], row["at"]) == (AT, None, "t-1", AT)


def test_a_batch_in_which_nothing_can_be_read_gives_rejects_alone() -> None:
    result = process_traces(raw([b"x", None]), SOURCE, watching(), salt=SALT, now_micros=AT)
    assert [reject.code for reject in result.rejects] == ["unknown_framing", "empty"]
    assert (dict(result.rows), result.clean.height, result.counts.rejected) == ({}, 0, 2)


def test_an_empty_batch_gives_nothing() -> None:
    result = process_traces([], SOURCE, watching(), salt=SALT, now_micros=AT)
    assert (dict(result.rows), result.clean.height, result.rejects) == ({}, 0, [])


def test_refused_json_counts_for_its_variant() -> None:
    faulty = as_json({**trace(assignments=[assigned("small")]), "latency_ms": "slow"})
    result = process_traces(raw([faulty, avro(trace())]), SOURCE, watching(), salt=SALT, now_micros=AT)
    (count,) = result.counts.rejected_by_variant
    assert (count.experiment, count.variant, count.count) == (NAME, "small", 1)


KINDS = {
    "good": avro(trace(tenant="acme", output_text="hello")),
    "json": as_json(trace(tenant="zeta", assignments=[assigned("small")])),
    "gate": avro(trace(output_text="4111111111111111")),
    "scored": avro(trace(scores=[{"name": "resolved", "value": 1.0}], steps=[{"kind": "tool", "name": "shell"}])),
    "faulty": avro(trace(latency_ms=-1.0)),
    "untimely": avro(trace(at=1)),
    "unassigned": avro(trace(assignments=[])),
    "broken": avro(trace())[:-1],
    "shadow": avro(trace(role="shadow")),
}


@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=12), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_where_a_fetch_ends_changes_nothing(kinds: list[str], size: int) -> None:
    records = raw([KINDS[kind] for kind in kinds])

    def process(part: list[Any]) -> Any:
        return process_traces(part, SOURCE, watching(), salt=SALT, now_micros=AT)

    whole = process(records)
    parts = [process(records[start : start + size]) for start in range(0, len(records), size)]
    assert [reject for part in parts for reject in part.rejects] == whole.rejects
    assert pl.concat([part.clean for part in parts]).equals(whole.clean)
    judged = [part.rows[NAME] for part in parts if NAME in part.rows]
    if NAME in whole.rows:
        assert build_blocks(concatenate(judged)) == build_blocks(whole.rows[NAME])
    else:
        assert judged == []
    assert sum(part.counts.valid for part in parts) == whole.counts.valid
    assert whole.counts.valid + whole.counts.rejected + whole.counts.quarantined == len(kinds)


@given(st.lists(st.lists(st.sampled_from(sorted(KINDS)), max_size=6), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_partitions_that_are_read_together_become_what_each_becomes_alone(partitions: list[list[str]]) -> None:
    fetched = [
        Fetched.of(Source("stoploss.traces", "uuid", number), raw([KINDS[kind] for kind in kinds]))
        for number, kinds in enumerate(partitions)
    ]
    together = read_traces(fetched, watching(), salt=SALT, now_micros=AT)
    alone = [result for part in fetched for result in read_traces([part], watching(), salt=SALT, now_micros=AT)]
    for found, wanted in zip(together, alone, strict=True):
        assert (found.rejects, found.counts, found.tripped_gate) == (wanted.rejects, wanted.counts, wanted.tripped_gate)
        assert found.clean.equals(wanted.clean)
        assert {name: seen(rows) for name, rows in found.rows.items()} == {
            name: seen(rows) for name, rows in wanted.rows.items()
        }


def seen(rows: ProjectedRows) -> list[object]:
    """Blocks, with segment values row by row: a dictionary has its values in the order in which they were met."""
    return [
        (
            replace(block, segments=()),
            [
                [column.values[code] if code < len(column.values) else None for code in codes_of(column)]
                for column in block.segments
            ],
        )
        for block in build_blocks(rows)
    ]


def codes_of(column: SegmentColumn) -> list[int]:
    return np.frombuffer(column.codes, CODE).tolist()
