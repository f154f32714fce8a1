from __future__ import annotations

import numpy as np
import pytest

from stoploss.errors import InvalidExperiment
from stoploss.metrics import MISSING
from stoploss.rules.coverage import FOLLOWED
from stoploss.spec.file import parse_experiment
from tests.timelines import SPEC, Timeline, Traces, actions, spec, traces

COVERAGE = "health: {sampleRatio: off, coverage: {score: helpfulness, min: 0.8, within: 10s, do: hold}}"


def fresh(n: int, seed: int) -> Traces:
    """Traces of users never seen before."""
    return traces(n, seed=seed, users=50 * n, population=seed)


def scored(some: Traces, shares: tuple[float, float], seed: int) -> Traces:
    """Outcomes for a share of the traces of each arm."""
    keep = np.flatnonzero(np.random.default_rng(seed).random(some.rows) < np.array(shares)[some.variant])
    return Traces(some.variant[keep], some.unit[keep], {"helpfulness": np.full(keep.size, 700_000)})


def run(shares: tuple[float, float], seconds: int = 30, text: str = COVERAGE, lag_s: int = 2) -> Timeline:
    """Each second fifty new users, and the scores of those who came `lag_s` seconds before."""
    timeline = Timeline(spec(text)).started()
    parts = [fresh(50, seed) for seed in range(seconds)]
    for second, some in enumerate(parts):
        timeline.seconds(1)
        timeline.traces(some)
        if second >= lag_s and (late := scored(parts[second - lag_s], shares, second)).rows:
            timeline.traces(late, outcomes=True)
    return timeline


def reasons(timeline: Timeline) -> list[str]:
    return [finding.reason for finding in timeline.breaches]


def test_scores_that_come_for_enough_units_in_time_hold_nothing() -> None:
    assert run((0.85, 0.85)).findings == []


@pytest.mark.parametrize(("shares", "arm"), [((0.9, 0.5), "treatment"), ((0.5, 0.9), "control")])
def test_an_arm_whose_scores_stay_away_holds_and_is_named(shares: tuple[float, float], arm: str) -> None:
    timeline = run(shares)
    [finding] = timeline.breaches
    assert (finding.reason, finding.severity, timeline.it.lifecycle) == ("scores_missing", "hold", "holding")
    assert finding.sentence.startswith(f"units of the {arm} arm with a score: ")
    assert finding.sentence.endswith("at least 80.0 % wanted")


def test_a_unit_counts_only_once_its_score_had_the_time_to_arrive() -> None:
    timeline = run((0.0, 0.0), seconds=9)
    assert timeline.findings == []
    state = timeline.it.current.rules["coverage"]
    assert [batch.trials for batch in state.missed] == [0, 0]  # type: ignore[union-attr]
    timeline.seconds(6)
    assert set(reasons(timeline)) == {"scores_missing"}


def test_nothing_is_settled_while_intake_is_behind() -> None:
    timeline = run((0.0, 0.0), seconds=9)
    for _ in range(30):
        timeline.seconds(1, lag=5_000)
    assert timeline.findings == []


def test_a_score_on_the_trace_itself_counts_as_one_that_comes_later() -> None:
    timeline = Timeline(spec(COVERAGE)).started()
    for seed in range(30):
        some = fresh(50, seed)
        some.metrics["helpfulness"] = np.full(some.rows, 500_000)
        timeline.seconds(1)
        timeline.traces(some)
    assert timeline.findings == []
    state = timeline.it.current.rules["coverage"]
    assert sum(batch.trials for batch in state.missed) > 500  # type: ignore[union-attr]


def test_scores_that_come_later_than_allowed_hold() -> None:
    text = COVERAGE.replace("do: hold", "maxLag: 4s, do: hold")
    assert run((0.95, 0.95), text=text, lag_s=2).findings == []
    timeline = run((0.95, 0.95), text=text, lag_s=7)
    assert set(reasons(timeline)) == {"scores_late"}
    assert "until half of the treatment arm's scored units have a score: 7 (limit 4)" in timeline.breaches[-1].sentence


def test_a_coverage_may_pause() -> None:
    assert actions(run((0.9, 0.5), text=COVERAGE.replace("do: hold", "do: pause"))) == ["set_exposure", "pause"]


def test_a_sample_of_units_is_followed_whatever_their_number() -> None:
    timeline = Timeline(spec(COVERAGE)).started()
    for seed in range(6):
        timeline.traces(fresh(4_000, seed), block_rows=4_000)
    state = timeline.it.current.rules["coverage"]
    assert FOLLOWED // 4 < len(state.units) <= FOLLOWED  # type: ignore[union-attr]
    assert max(state.units.since) < state.below  # type: ignore[union-attr]


@pytest.mark.parametrize("block_rows", [1, 7, 60])
def test_how_rows_are_cut_changes_nothing_of_what_is_followed(block_rows: int) -> None:
    """A score that comes on a trace before the one that counts is none, in whatever block it stands."""
    some = fresh(100, seed=1)
    some = Traces(some.variant, np.repeat(some.unit[:50], 2), {"helpfulness": np.full(100, MISSING)})
    some.metrics["helpfulness"][::2] = 1
    stamps = np.where(np.arange(100) % 2, -1, 7).astype("<i4")
    states = []
    for rows in (100, block_rows):
        timeline = Timeline(spec(COVERAGE)).started()
        for start in range(0, 100, rows):
            part = np.arange(start, min(start + rows, 100))
            cut = Traces(some.variant[part], some.unit[part], {n: x[part] for n, x in some.metrics.items()})
            timeline.traces(cut, stamp_run=stamps[part].tobytes(), stamp_epoch=stamps[part].tobytes())
        states.append(timeline.it.current.rules["coverage"])
    assert states[0] == states[1]
    assert len(states[0].units) == 50  # type: ignore[union-attr]
    assert not states[0].units.scored  # type: ignore[union-attr]


def test_a_lag_that_could_never_be_exceeded_is_refused() -> None:
    with pytest.raises(InvalidExperiment, match=r"maxLag of 20 s is not below within \(10 s\)"):
        parse_experiment(spec(COVERAGE.replace("do: hold", "maxLag: 20s")))


def test_the_coverage_of_a_built_in_metric_is_refused() -> None:
    with pytest.raises(InvalidExperiment, match="'latency_ms' is measured on every trace"):
        parse_experiment(spec(COVERAGE.replace("helpfulness", "latency_ms"), SPEC))
