from __future__ import annotations

from stoploss.intake.rows import build_blocks
from stoploss.metrics import MISSING
from tests.intake.alone import process_outcomes
from tests.intake.records import (
    AT,
    NAME,
    SALT,
    SOURCE,
    as_json,
    assigned,
    avro,
    outcome,
    raw,
    rows_of,
    take_in_outcomes,
    trace,
    watching,
)


def test_an_outcome_is_a_row_with_a_value_in_the_column_of_its_name() -> None:
    result = take_in_outcomes(outcome(value=0.25), outcome(name="resolved", kind="business", value=1.0))
    rows = result.rows[NAME]
    assert rows.outcomes
    assert {name: values.tolist() for name, values in rows.metrics.items()} == {
        "helpfulness": [250_000, MISSING],
        "resolved": [MISSING, 1_000_000],
    }
    assert set(rows.units) == {"helpfulness", "resolved"}


def test_outcomes_of_several_names_stay_in_one_block_in_the_order_of_their_offsets() -> None:
    names = ["helpfulness", "resolved", "helpfulness"]
    (block,) = build_blocks(take_in_outcomes(*(outcome(name=name) for name in names)).rows[NAME])
    assert block.rows == 3
    assert block.outcomes


def test_an_outcome_has_the_hashes_of_its_trace() -> None:
    late, row = take_in_outcomes(outcome(at=AT - 5)).rows[NAME], rows_of(trace())
    assert late.columns["trace"][0] == row.columns["trace"][0]
    assert late.columns["unit"][0] == row.columns["unit"][0]
    assert late.columns["start"][0] == late.columns["at"][0] == AT - 5
    assert late.columns["gates"].tolist() == [0]


def test_a_name_that_the_experiment_does_not_declare_is_counted_and_stored() -> None:
    result = take_in_outcomes(outcome(name="mood"), outcome(name="mood"), outcome(name="a\x00"), outcome())
    assert result.counts.undeclared_outcome == {f"{NAME}/mood": 2, f"{NAME}/invalid": 1}
    assert result.rows[NAME].rows == 1
    assert result.clean.height == 4


def test_only_undeclared_names_make_no_rows() -> None:
    assert dict(take_in_outcomes(outcome(name="mood")).rows) == {}


def test_a_value_that_is_no_number_is_a_dead_letter() -> None:
    result = take_in_outcomes(outcome(value=float("nan")))
    assert result.rejects[0].reason.startswith("score 'helpfulness' is nan; it must be finite")
    assert result.rejects[0].assignments == ((NAME, "current"),)


def test_segments_of_an_outcome_are_those_it_carries() -> None:
    rows = take_in_outcomes(outcome(tenant="acme", attributes=[{"key": "tier", "value": "gold"}])).rows[NAME]
    assert {name: column.values for name, column in rows.segments.items()} == {
        "tenant": ("acme",),
        "language": (),
        "tier": ("gold",),
        "tenant×language": (),
    }


def test_json_and_foreign_records_are_read_as_for_traces() -> None:
    values = [as_json(outcome(assignments=[assigned("small")])), avro(trace()), b"{"]
    result = process_outcomes(raw(values), SOURCE, watching(), salt=SALT, now_micros=AT)
    assert result.rows[NAME].columns["variant"].tolist() == [1]
    assert [reject.code for reject in result.rejects] == ["unknown_schema", "malformed_json"]


def test_what_is_said_of_a_shadow_run_is_stored_and_is_no_evidence() -> None:
    """R1: it has the variant of live traces, and would stand among their scores."""
    of_shadow = outcome(value=0.1, attributes=[{"key": "shadow_of", "value": "t-1"}])
    result = take_in_outcomes(of_shadow, outcome(value=0.9))
    assert result.rows[NAME].metrics["helpfulness"].tolist() == [900_000]
    assert result.clean.height == 2
