"""E2: the path of a trace and its operation are dimensions, so that a shift of their mix can be seen."""

from __future__ import annotations

from typing import Any

from stoploss.intake.paths import bounded
from stoploss.intake.rows import Coded
from stoploss.intake.segments import LONGEST_BYTES, clean
from tests.intake.records import NAME, SPEC, declaring, outcome, rows_of, take_in_outcomes, trace

WATCHED = declaring("", SPEC.replace("[tenant, language, tier, tenant×language]", "[operation, path, path×language]"))


def step(name: str, kind: str = "tool") -> dict[str, Any]:
    return {"kind": kind, "name": name}


def values(column: Coded) -> list[str | None]:
    return [column.values[code] if code >= 0 else None for code in column.codes]


def paths(*traces: list[dict[str, Any]]) -> list[str | None]:
    return values(rows_of(*(trace(steps=steps) for steps in traces), watched=WATCHED).segments["path"])


def test_a_path_is_the_steps_in_their_order() -> None:
    model, search = step("large", "model"), step("search")
    assert paths([model, search], [search, model], []) == [
        "model:large/tool:search",
        "tool:search/model:large",
        "no steps",
    ]


def test_a_step_taken_several_times_in_a_row_is_written_once_with_a_plus() -> None:
    search, compare = step("search"), step("compare")
    assert paths([search] * 2, [search] * 9, [search, compare, search]) == [
        "tool:search+",
        "tool:search+",
        "tool:search/tool:compare/tool:search",
    ]


def test_a_path_does_not_run_on_into_the_next_trace() -> None:
    assert paths([step("search")], [step("search")]) == ["tool:search", "tool:search"]


def test_a_name_that_is_not_fit_to_be_shown_is_not() -> None:
    assert paths([step("<script>"), step("search")]) == ["invalid/tool:search"]


def test_a_long_path_is_cut_and_told_apart_from_others_that_begin_so() -> None:
    steps = [step(f"a-tool-with-a-long-name-{place}") for place in range(9)]
    one, other = paths(steps, steps[:-1])
    assert one is not None
    assert other is not None
    assert one != other
    assert one[:40] == other[:40]
    assert len(one.encode()) <= LONGEST_BYTES
    assert clean(one) == one


def test_a_cut_within_a_letter_still_gives_a_value_that_may_be_shown() -> None:
    found = bounded("tool:検索/" * 20)
    assert len(found.encode()) <= LONGEST_BYTES
    assert clean(found) == found


def test_operation_is_a_column_and_crosses_work() -> None:
    rows = rows_of(trace(operation="chat", language="de"), trace(), watched=WATCHED)
    assert values(rows.segments["operation"]) == ["chat", None]
    assert values(rows.segments["path×language"]) == ["no steps×de", None]


def test_its_mix_is_watched_without_being_a_segment() -> None:
    [watched] = declaring("drift: [{mix: path}]").values()
    assert "path" in watched.segments
    assert "path" not in watched.experiment.spec.segments


def test_an_outcome_has_no_path_of_its_own() -> None:
    rows = take_in_outcomes(outcome(), watched=WATCHED).rows[NAME]
    assert values(rows.segments["path"]) == values(rows.segments["operation"]) == [None]
