from __future__ import annotations

import numpy as np
import pytest

from stoploss.rules.judge_drift import mean_evidence
from stoploss.rules.verdict import Reason
from tests.timelines import Timeline, Traces, actions, spec

REFERENCE = "health: {sampleRatio: off, judgeReference: {score: regrade}}"
ITEMS = np.random.default_rng(1).integers(0, 2**64, 200, dtype=np.uint64)


def regrades(n: int, shift: float, seed: int, spread: float = 0.1) -> Traces:
    """Items of the frozen set graded anew: the new grade less the first one, in points."""
    rng = np.random.default_rng(seed)
    differences = np.rint((shift + rng.normal(0, spread, n)) * 1e6).astype(np.int64)
    return Traces(rng.integers(0, 2, n).astype(np.uint8), rng.choice(ITEMS, n), {"regrade": differences})


def run(shifts: list[float], text: str = REFERENCE, n: int = 50) -> Timeline:
    timeline = Timeline(spec(text)).started()
    for seed, shift in enumerate(shifts):
        timeline.seconds(1)
        timeline.traces(regrades(n, shift, seed), outcomes=True)
    timeline.seconds(1)
    return timeline


@pytest.mark.parametrize("shift", [0.05, -0.05])
def test_e7_a_judge_that_grades_frozen_items_otherwise_has_moved_and_holds(shift: float) -> None:
    timeline = run([shift] * 12)
    [finding] = timeline.breaches
    assert (finding.reason, finding.severity) == ("judge_moved", "hold")
    assert (actions(timeline), timeline.it.lifecycle) == (["set_exposure"], "holding")
    assert finding.evidence.estimate == pytest.approx(shift, abs=0.02)
    assert "the judge moved" in finding.sentence


def test_a_judge_that_wavers_without_moving_holds_nothing() -> None:
    assert run([0.0] * 60).findings == []


def test_a_judge_that_moves_after_many_grades_is_noticed_as_soon_as_at_first() -> None:
    """W1"""
    timeline = run([0.0] * 45 + [0.05] * 15)
    assert [finding.reason for finding in timeline.breaches] == ["judge_moved"]


def test_a_few_grades_are_undecided_and_say_how_many_are_missing() -> None:
    timeline = run([0.5], n=40)
    state, rule = timeline.it.current.rules["judge_drift"], timeline.it.rules
    [verdict] = next(r for r in rule if r.kind == "judge_drift").judge(state, None)  # type: ignore[arg-type]
    assert verdict.reason == Reason.BELOW_FLOOR
    assert verdict.floor is not None
    assert (verdict.floor.observed, verdict.floor.required) == (40, 100)


def test_a_judge_that_is_off_by_the_same_everywhere_has_moved() -> None:
    timeline = Timeline(spec(REFERENCE)).started()
    for seed in range(5):
        timeline.traces(regrades(50, 0.1, seed, spread=0.0), outcomes=True)
    timeline.seconds(1)
    assert [finding.reason for finding in timeline.breaches] == ["judge_moved"]


def test_no_difference_at_all_is_no_evidence() -> None:
    n = np.full(64, 10)
    found, groups = mean_evidence(n, np.zeros(64, np.int64), 0.01)
    assert (found < 0, groups) == (True, 64.0)
    assert mean_evidence(np.zeros(64, np.int64), np.zeros(64, np.int64), 0.01) == (0.0, 0.0)


@pytest.mark.slow
def test_grades_of_one_item_that_are_alike_raise_no_false_alarm() -> None:
    """Looked at every 20 grades; 200 items, each off by an amount of its own that averages to 0 over all items."""
    alarms, runs, rng = 0, 400, np.random.default_rng(3)
    for _ in range(runs):
        n, total = np.zeros(64, np.int64), np.zeros(64, np.int64)
        group, own = rng.integers(0, 64, 200), rng.normal(0, 50_000, 200)
        own -= own.mean()
        for _ in range(100):
            item = rng.integers(0, 200, 20)
            np.add.at(n, group[item], 1)
            np.add.at(total, group[item], np.rint(own[item] + rng.normal(0, 50_000, 20)).astype(np.int64))
            if n.sum() >= 100 and mean_evidence(n, total, 0.01)[0] >= np.log(100):
                alarms += 1
                break
    assert alarms <= 12
