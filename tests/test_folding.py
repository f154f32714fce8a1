"""Rows of segments wait for a tick; nothing may depend on how long they did."""

from __future__ import annotations

import pytest

from stoploss import snapshot
from stoploss.folding import settle
from stoploss.rules.group_totals import rows_until_a_look
from stoploss.segments import PATIENCE
from stoploss.stats.exact_sums import BLOCK_ROWS
from stoploss.waiting import Waiting
from tests.timelines import EVERY_RULE, SECRET, Timeline, bytes_of, spec, stored, traces


def begun() -> Timeline:
    timeline = Timeline(spec(EVERY_RULE)).started()
    timeline.seconds(1)
    return timeline


def seconds_without_a_tick(timeline: Timeline, settled: bool) -> bytes:
    for second in range(4):
        timeline.traces(traces(300, seed=second, users=9_000, error_rate=(0.1, 0.2), tenant="acme"), block_rows=100)
        if settled:
            stored(timeline.state)
        timeline.at += 1_000_000
    timeline.seconds(1)
    return snapshot.dump(timeline.it, SECRET)


def test_rows_of_two_seconds_are_scored_apart_though_no_tick_came_between_them() -> None:
    assert seconds_without_a_tick(begun(), settled=False) == seconds_without_a_tick(begun(), settled=True)


@pytest.mark.parametrize("action", ["pause", "stop"])
def test_rows_that_wait_when_an_epoch_ends_belong_to_it(action: str) -> None:
    timelines = [begun(), begun()]
    for number, timeline in enumerate(timelines):
        timeline.traces(traces(3_000, seed=5, users=9_000, tenant="acme"), block_rows=1_000)
        if number:
            settle(timeline.state.experiments["checkout"])
        timeline.ask(action)
    waited, folded = timelines
    totals = waited.it.current.rules["guardrail[1]"].dimensions["tenant"]  # type: ignore[union-attr]
    assert totals.closed.weight[0] > 500
    assert not totals.n.any()
    assert stored(waited.state) == stored(folded.state)
    assert bytes_of(waited.outputs) == bytes_of(folded.outputs)


def test_more_rows_than_exact_sums_allow_at_once_do_not_wait_together() -> None:
    timeline = begun()
    for seed in range(5):
        timeline.traces(traces(4_000, seed=seed, users=90_000, cost_usd=1e-6, tenant="acme"), block_rows=4_000)
        waiting = timeline.state.experiments["checkout"].current.waiting
        assert sum(rows.size for rows in waiting.parts) == waiting.rows <= BLOCK_ROWS
    sums = timeline.it.current.metrics.metrics["latency_ms"]
    assert int(sums.n[sums.starts()["tenant"] :].sum()) == 20_000 - (PATIENCE - 1)


def test_a_tick_leaves_nothing_waiting() -> None:
    timeline = begun()
    timeline.traces(traces(100, seed=1))
    assert timeline.state.experiments["checkout"].current.waiting.parts
    timeline.seconds(1)
    assert timeline.state.experiments["checkout"].current.waiting == Waiting()


def some_seconds(timeline: Timeline) -> Timeline:
    """Small blocks of traces and of outcomes in turn; from the fourth second on the treatment fails more often."""
    for second in range(6):
        harmed = 0.06 if second > 2 else 0.02
        some = traces(900, seed=second, users=9_000, error_rate=(0.02, harmed), cost_usd=1e-6, tenant="acme")
        graded = traces(45, seed=100 + second, users=9_000)
        graded.metrics = {"score:resolved": graded.metrics["error_rate"]}
        for block in timeline.blocks(some, block_rows=20):
            timeline.append(block)
            timeline.at += 4_000
        timeline.traces(graded, block_rows=15, outcomes=True)
        timeline.seconds(1)
    return timeline


def test_rows_of_everybody_that_wait_for_a_look_are_judged_as_if_they_had_not(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = some_seconds(begun())
    folds = []

    def at_once(waiting: Waiting, rows: int, rule: str) -> bool:
        folds.append(rule)
        return False

    monkeypatch.setattr(Waiting, "fits", at_once)
    folded = some_seconds(begun())
    assert {"guardrail[0]", "guardrail[1]", "guardrail[2]", "regression[0]"} <= set(folds)
    assert waited.breaches
    assert bytes_of(waited.outputs) == bytes_of(folded.outputs)
    assert stored(waited.state) == stored(folded.state)


def test_a_rule_lets_rows_wait_until_they_may_be_worth_a_look() -> None:
    timeline = begun()
    timeline.traces(traces(2_000, seed=3, users=90_000, cost_usd=1e-6), block_rows=500)
    state = timeline.state.experiments["checkout"].current
    rows = timeline.it.current.rules["guardrail[0]"].totals[""].rows  # type: ignore[union-attr]
    first, last = traces(1, seed=4, users=90_000), traces(rows_until_a_look(rows), seed=5, users=90_000)
    seen = []
    for block in (*timeline.blocks(first), *timeline.blocks(last, block_rows=last.rows - 1)):
        timeline.append(block)
        seen.append(state.waiting.seen["guardrail[0]"])
    assert seen == [1, 1, 3]
