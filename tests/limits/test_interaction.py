"""X3: two experiments on the same traffic: what the treatment does in each variant of the other."""

from __future__ import annotations

import pytest

from stoploss.errors import InvalidExperiment
from stoploss.journal import RequestHandled
from stoploss.spec.file import parse_experiment
from tests.intake.records import NAME, SPEC, assigned, rows_of, trace, watching
from tests.intake.records import experiment as of_intake
from tests.timelines import Timeline, Traces, actions, merged, spec, traces

BESIDE = "experiment:ranking"
WATCHED = """
guardrails:
  - {metric: latency_ms, direction: lower, margin: {relative: 0.15}, transform: log, alpha: 0.05, action: rollback}
  - {metric: latency_ms, direction: lower, margin: {relative: 9}, transform: exceedance, alpha: 0.05, action: rollback}
segments: ["experiment:ranking"]
"""


def test_a_row_knows_which_variant_of_the_other_experiment_its_trace_is_in() -> None:
    """X3"""
    text = SPEC.replace("UNIT", "user").replace("segments: [tenant,", f'segments: ["{BESIDE}", tenant,')
    watched = watching(parse_experiment(text), of_intake(name="ranking"))
    both = trace(assignments=[assigned(), assigned("v2", "ranking")])
    column = rows_of(both, trace(trace_id="t-2"), watched=watched).segments[BESIDE]
    assert [column.values[code] if code >= 0 else None for code in column.codes] == ["v2", None]
    assert watched[NAME].segments[0] == BESIDE


def beside(second: int, slow_in: str | None) -> Traces:
    """Users of both variants of the other experiment; in one of them the treatment is slow."""
    parts = []
    for population, (variant, rows) in enumerate((("v1", 3_000), ("v2", 300)), start=1):
        pace = (500.0, 1_250.0 if variant == slow_in else 500.0)
        some = traces(rows, seed=10 * second + population, users=10 * rows, population=population, latency_ms=pace)
        some.segments[BESIDE] = [variant] * some.rows
        parts.append(some)
    return merged(*parts)


def run(slow_in: str | None) -> Timeline:
    timeline = Timeline(spec(WATCHED)).started()
    for second in range(12):
        timeline.seconds(1)
        timeline.traces(beside(second, slow_in), block_rows=3_000)
        if len(timeline.commands) > 1:
            break
    timeline.seconds(1)
    return timeline


def test_harm_in_one_variant_of_the_other_is_told_as_that_and_answered_for_everybody() -> None:
    """X3: no flag can take the treatment from those alone who are in a variant of another experiment."""
    timeline = run("v2")
    assert actions(timeline) == ["set_exposure", "rollback"]
    evidence = timeline.commands[-1].evidence
    assert evidence is not None
    assert str(evidence.segment) == f"{BESIDE}=v2"


def test_two_experiments_that_do_not_touch_each_other_hold_nothing() -> None:
    timeline = run(None)
    assert actions(timeline) == ["set_exposure"]
    assert timeline.breaches == []


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ('segments: ["experiment:checkout"]', "spec.segments[0]"),
        ('segments: ["tenant×experiment:No Name"]', "spec.segments[0]"),
        ('drift: [{mix: "experiment:ranking"}]', "spec.drift[0].mix"),
    ],
)
def test_what_cannot_be_watched_of_another_experiment_is_named(lines: str, field: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        parse_experiment(spec(lines))
    assert [fault.field for fault in refused.value.violations] == [field]


def test_no_approval_leaves_out_who_is_in_a_variant_of_another_experiment() -> None:
    timeline = Timeline(spec(WATCHED))
    timeline.ask("register")
    body = '{"domain": "product", "excluded": [{"dimension": "experiment:ranking", "value": "v2"}]}'
    timeline.ask("approve", by="pia", reason="fine", body=body)
    last = timeline.said(RequestHandled)[-1]
    assert (last.accepted, last.reason) == (
        False,
        "experiment:ranking cannot be left out: a flag does not know the variants of another experiment",
    )
