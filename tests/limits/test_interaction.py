"""X3: two experiments on the same traffic: what the treatment does in each variant of the other."""

from __future__ import annotations

import re

import pytest

from stoploss.errors import InvalidExperiment
from stoploss.journal import Finding, RequestHandled
from stoploss.rules.interaction import ALPHA, interactions_of
from stoploss.spec.file import parse_experiment
from tests.intake.records import NAME, SPEC, assigned, rows_of, trace, watching
from tests.intake.records import experiment as of_intake
from tests.timelines import Timeline, Traces, actions, bytes_of, merged, refolded, spec, traces

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


def beside(second: int, slow_in: str | None, treated_ms: float = 1_250.0, world_ms: float = 500.0) -> Traces:
    """Users of both variants of the other experiment; in one of them the treatment has a latency of its own."""
    parts = []
    for population, (variant, rows) in enumerate((("v1", 3_000), ("v2", 300)), start=1):
        pace = (world_ms, treated_ms if variant == slow_in else world_ms)
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


def together(seconds: int, gain_in: str | None, text: str = spec(WATCHED)) -> Timeline:
    """A treatment that is quicker in one variant of the other experiment, and harms nobody."""
    timeline = Timeline(text).started()
    for second in range(seconds):
        timeline.seconds(1)
        timeline.traces(beside(second, gain_in, treated_ms=300.0), block_rows=3_000)
    timeline.seconds(10)
    return timeline


def told(timeline: Timeline) -> list[Finding]:
    return [finding for finding in timeline.findings if finding.evidence.rule == "interaction"]


def test_an_effect_that_differs_between_the_variants_of_the_other_is_told_and_orders_nothing() -> None:
    """X3: the signal, with both effects and an interval of their difference that holds at all looks."""
    timeline = together(10, "v2")
    found = told(timeline)[0]
    assert (found.verdict, found.reason, found.severity) == ("differs", "effects_differ", "info")
    evidence = found.evidence
    assert evidence is not None
    assert (str(evidence.segment), evidence.statistic) == (f"{BESIDE}=v2", f"relative effect less that for {BESIDE}=v1")
    assert evidence.lower is not None
    assert evidence.upper is not None
    assert -0.6 < evidence.lower < -0.4 < evidence.upper < 0, "300 ms of 500 ms are 40 % less, and nothing in v1"
    assert found.sentence.startswith(
        "latency_ms: what 'small' does depends on the other experiment: it changes it by -38.4 % for experiment:r"
    )
    assert actions(timeline) == ["set_exposure"]
    again = [one.evidence.statistic for one in told(timeline) if one.evidence]
    assert len(again) == len(set(again)), "each metric says it once"


def test_an_effect_that_is_the_same_in_both_is_not_told_and_its_interval_is_measured() -> None:
    """X3"""
    timeline = together(10, None)
    assert told(timeline) == []
    rows = [row for row in timeline.measures()[-1].verdicts if row.rule == "interaction[0]"]
    assert [(row.verdict, row.reason) for row in rows] == [("undecided", "evidence_between")]
    assert rows[0].lower is not None
    assert rows[0].upper is not None
    assert rows[0].lower < 0 < rows[0].upper


def test_with_few_of_the_other_variant_no_number_is_told_and_what_is_missing_is() -> None:
    """P2, X3"""
    [row] = [row for row in together(1, "v2").measures()[-1].verdicts if row.rule == "interaction[0]"]
    assert (row.verdict, row.reason, row.estimate, row.lower, row.upper) == (
        "undecided",
        "below_floor",
        None,
        None,
        None,
    )
    assert re.fullmatch(r"\d+ of 500 units in the smallest of the four arms", row.missing)


def test_the_signals_of_an_experiment_share_one_error_budget_and_the_target_has_one_too() -> None:
    two = spec(
        WATCHED.replace('segments: ["', 'segments: [tenant, "tenant×experiment:ranking", "experiment:pricing", "')
    )
    found = list(interactions_of(parse_experiment(two)))
    watched = ["latency_ms", "latency_ms", "resolved"]
    assert [one.plan.metric for one in found] == watched * 2
    assert {one.dimension for one in found} == {BESIDE, "experiment:pricing"}
    spent = sum(2 * one.alpha_of(pair) for one in found for pair in range(63))
    assert 0.98 * ALPHA < spent <= ALPHA


def test_an_experiment_without_the_variants_of_another_has_no_such_rule() -> None:
    assert list(interactions_of(parse_experiment(spec("segments: [tenant]")))) == []


def test_what_is_told_of_two_experiments_is_told_again_by_a_replay() -> None:
    timeline = together(6, "v2")
    assert bytes_of(refolded(timeline.entries)) == bytes_of(timeline.outputs)


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
