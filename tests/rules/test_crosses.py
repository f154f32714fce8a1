"""Segments that are crosses of two attributes, through the whole judge; and verdicts that a later one overrides."""

from __future__ import annotations

from stoploss.commands import Action
from stoploss.lifecycle import Lifecycle
from tests.timelines import Timeline, Traces, merged, spec, traces

CROSSED = """
segments: [tenant, language, tenant×language]
guardrails:
  - {metric: error_rate, direction: lower, margin: {relative: 0.50}, action: rollback}
"""


def of(tenant: str, language: str, rows: int, seed: int, population: int, errors: tuple[float, float]) -> Traces:
    some = traces(rows, seed=seed, users=20_000, population=population, error_rate=errors)
    cross = f"{tenant}×{language}"
    some.segments = {
        name: [value] * rows for name, value in (("tenant", tenant), ("language", language), ("tenant×language", cross))
    }
    return some


def second_of(seed: int, harm: float) -> Traces:
    """Only the Germans of acme are harmed; there are few of them among the Germans, and few among acme's."""
    calm = (0.05, 0.05)
    return merged(
        of("acme", "de", 150, seed, 0, (0.05, harm)),
        of("acme", "en", 2_500, 100 + seed, 1, calm),
        of("zeta", "de", 2_500, 200 + seed, 2, calm),
        of("zeta", "en", 2_500, 300 + seed, 3, calm),
    )


def test_a_cross_that_is_harmed_alone_is_stopped_alone() -> None:
    timeline = Timeline(spec(CROSSED)).started()
    for second in range(12):
        timeline.seconds(1)
        timeline.traces(second_of(second, harm=0.7), block_rows=4_000)
        if len(timeline.commands) > 1:
            break
    timeline.seconds(1)
    assert [command.action for command in timeline.commands] == [Action.SET_EXPOSURE, Action.STOP_SEGMENT]
    assert [str(segment) for segment in timeline.commands[-1].stopped_segments] == ["tenant×language=acme×de"]
    assert timeline.it.lifecycle == Lifecycle.RUNNING
    assert "error_rate for tenant×language=acme×de is worse than allowed" in timeline.breaches[0].sentence


def test_every_value_of_a_cross_is_judged_and_shares_the_budget_of_all_dimensions() -> None:
    timeline = Timeline(spec(CROSSED)).started()
    timeline.seconds(1)
    timeline.traces(second_of(1, harm=0.05), block_rows=4_000)
    timeline.seconds(10)
    judged = [v for v in timeline.measures()[-1].verdicts if v.rule == "guardrail[0]" and v.segment is not None]
    assert [str(v.segment) for v in judged if v.segment and v.segment.dimension == "tenant×language"] == [
        f"tenant×language={value}" for value in ("acme×de", "acme×en", "zeta×de", "zeta×en")
    ]
    assert len(judged) == 2 + 2 + 4


def test_safe_is_never_for_good() -> None:
    """Far better at first, then far worse: what was safe is undecided, and then a breach."""
    timeline = Timeline(spec(CROSSED.replace("[tenant, language, tenant×language]", "[]"))).started()
    for second in range(30):
        timeline.seconds(1)
        rate = 0.10 if second < 6 else 0.9
        timeline.traces(traces(1_000, seed=second, users=50_000, error_rate=(0.2, rate)), block_rows=1_000)
        if len(timeline.commands) > 1:
            break
    assert [finding.verdict for finding in timeline.findings] == ["safe", "undecided", "breach"]
    assert timeline.it.lifecycle == Lifecycle.ROLLED_BACK
