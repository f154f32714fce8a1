from __future__ import annotations

import numpy as np
import pytest

from stoploss.errors import InvalidExperiment
from stoploss.metrics import MISSING
from stoploss.rules.alignment import GROUPS, Sums, correlation
from stoploss.spec.file import parse_experiment
from tests.timelines import Timeline, Traces, actions, spec

ALIGNMENT = "health: {sampleRatio: off, alignment: {proxy: helpfulness, outcome: resolved, baseline: 0.2}}"
POINT = 1_000_000


def users(n: int, seed: int, goes_with: float, proxy: float = 0.0, outcome: float = 0.0) -> tuple[Traces, Traces]:
    """Scores of n new users, and their business results: both follow the user's own level, the result by `goes_with`.

    proxy, outcome  what the treatment adds to each, in points
    """
    rng = np.random.default_rng(seed)
    arm, unit = rng.integers(0, 2, n).astype(np.uint8), rng.integers(0, 2**64, n, dtype=np.uint64)
    level = rng.normal(0, 1, n)
    score = level + 0.5 * rng.normal(0, 1, n) + proxy * arm
    result = goes_with * level + 0.5 * rng.normal(0, 1, n) + outcome * arm
    columns = [
        {name: np.rint(x * POINT).astype(np.int64)} for name, x in (("helpfulness", score), ("resolved", result))
    ]
    return Traces(arm, unit, columns[0]), Traces(arm, unit, columns[1])


def run(goes_with: float, seconds: int = 20, text: str = ALIGNMENT, lag_s: int = 5, **effects: float) -> Timeline:
    """Each second the scores of 300 new users, and the results of those who came `lag_s` seconds before."""
    timeline = Timeline(spec(text)).started()
    parts = [users(300, seed, goes_with, **effects) for seed in range(seconds)]
    for second in range(seconds):
        timeline.seconds(1)
        timeline.traces(parts[second][0], outcomes=True)
        if second >= lag_s:
            timeline.traces(parts[second - lag_s][1], outcomes=True)
    timeline.seconds(1)
    return timeline


def test_e8_a_score_that_no_longer_goes_with_the_result_is_a_signal_and_holds() -> None:
    timeline = run(goes_with=0.0)
    [finding] = timeline.breaches
    assert (finding.reason, finding.severity) == ("correlation_fell", "hold")
    assert (actions(timeline), timeline.it.lifecycle) == (["set_exposure"], "holding")
    assert finding.sentence.startswith("helpfulness and resolved no longer go together: correlation over groups")


def test_a_score_that_goes_with_the_result_is_no_finding_though_the_result_comes_later() -> None:
    timeline = run(goes_with=1.0)
    assert timeline.findings == []
    assert timeline.it.current.rules["alignment"].correlation > 0.4  # type: ignore[union-attr, operator]


def test_e8_a_treatment_that_raises_the_score_and_lowers_the_result_is_a_signal() -> None:
    timeline = run(goes_with=1.0, proxy=0.4, outcome=-0.4)
    [finding] = timeline.breaches
    assert finding.reason == "opposite_signs"
    assert "helpfulness and resolved move in opposite directions between the arms" in finding.sentence


@pytest.mark.parametrize(("proxy", "outcome"), [(0.4, 0.4), (-0.4, -0.4), (0.4, 0.0), (0.0, -0.4)])
def test_contrasts_that_do_not_contradict_each_other_are_no_finding(proxy: float, outcome: float) -> None:
    assert run(goes_with=1.0, proxy=proxy, outcome=outcome).findings == []


def test_an_alignment_may_only_be_said() -> None:
    timeline = run(goes_with=0.0, text=ALIGNMENT.replace("baseline: 0.2", "baseline: 0.2, do: none"))
    assert [finding.reason for finding in timeline.breaches] == ["correlation_fell"]
    assert timeline.it.lifecycle == "running"


def test_the_correlation_is_looked_at_when_the_results_have_doubled() -> None:
    looks = [run(1.0, seconds=n).it.current.rules["alignment"].looks for n in (6, 7, 9, 12)]  # type: ignore[union-attr]
    assert looks == [0, 1, 2, 3]


def test_groups_that_are_busy_in_both_do_not_correlate_by_being_busy() -> None:
    rng = np.random.default_rng(1)
    busy = rng.integers(5, 200, (2, GROUPS))
    first, second = (Sums(busy, busy * 700_000 + rng.integers(-99, 99, (2, GROUPS))) for _ in range(2))
    found = correlation(first, second)
    assert found is not None
    assert abs(found[0]) < 0.2
    assert found[1] == 2 * GROUPS


def test_a_score_that_does_not_vary_has_no_correlation() -> None:
    constant = Sums(np.full((2, GROUPS), 3), np.full((2, GROUPS), 3 * POINT))
    assert correlation(constant, constant) is None


@pytest.mark.slow
def test_a_correlation_at_its_baseline_falls_below_it_in_no_more_runs_than_promised() -> None:
    """Uncorrelated scores against a baseline of 0, seven looks each: 2.5 % are promised, 4.1 % would be a failure."""
    text = ALIGNMENT.replace("baseline: 0.2", "baseline: 0.0")
    rule = next(r for r in Timeline(spec(text)).started().it.rules if r.kind == "alignment")
    rng, fell = np.random.default_rng(5), 0
    for _ in range(600):
        state = rule.initial()
        for _ in range(64):
            for sums in (state.proxy, state.outcome):
                key = rng.integers(0, 2 * GROUPS, 500)
                sums.n += np.bincount(key, minlength=2 * GROUPS).reshape(2, GROUPS)
                noise = np.bincount(key, rng.normal(0, POINT, 500), minlength=2 * GROUPS)
                sums.total += np.rint(noise).astype(np.int64).reshape(2, GROUPS)
            rule.tick(state, None)  # type: ignore[arg-type]
        fell += state.fell
    assert fell <= 24


def test_a_proxy_for_itself_is_refused() -> None:
    with pytest.raises(InvalidExperiment, match="'resolved' is the proxy itself"):
        parse_experiment(spec(ALIGNMENT.replace("helpfulness", "resolved")))


def test_rows_that_lack_the_score_count_for_nothing() -> None:
    some, _ = users(50, 1, 1.0)
    some.metrics["helpfulness"][:] = MISSING
    timeline = Timeline(spec(ALIGNMENT)).started()
    timeline.traces(some, outcomes=True)
    assert int(timeline.it.current.rules["alignment"].proxy.n.sum()) == 0  # type: ignore[union-attr]
