from __future__ import annotations

import numpy as np
import pytest

from stoploss import snapshot
from stoploss.errors import InvalidExperiment
from stoploss.intake.watched import Watched
from stoploss.spec.file import parse_experiment
from tests.timelines import SECRET, Timeline, Traces, actions, of_arm, spec, traces

MIX = "drift: [{mix: language, action: pause}]\nhealth: {sampleRatio: off}"
LANGUAGES = ("de", "en", "fr", "nl")
USUAL = (0.5, 0.3, 0.15, 0.05)
OTHER = (0.2, 0.3, 0.15, 0.35)

Pair = tuple[tuple[float, ...], tuple[float, ...]]


def fresh(n: int, seed: int, mixes: Pair, share: float = 0.5) -> Traces:
    """Traces of new users, whose languages are mixed by arm: (control, treatment)."""
    some = traces(n, seed=seed, users=50 * n, population=seed, share=share)
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(LANGUAGES, n, p=mix) for mix in mixes]
    some.segments["language"] = [str(drawn[arm][row]) for row, arm in enumerate(some.variant)]
    return some


def run(parts: list[Pair], text: str = MIX, share: float = 0.5, rows: int = 300, block_rows: int = 300) -> Timeline:
    timeline = Timeline(spec(text)).started(share)
    for second, mixes in enumerate(parts):
        timeline.seconds(1)
        some = fresh(rows, second + 1, mixes, share)
        timeline.traces(some, block_rows=block_rows)
    timeline.seconds(1)
    return timeline


STEADY = [(USUAL, USUAL)]


def of_arms(timeline: Timeline) -> list[str]:
    return [f.reason for f in timeline.breaches if f.evidence.rule == "mix_drift" and f.reason != "mix_differs"]


@pytest.mark.parametrize(
    ("after", "reason"),
    [((OTHER, OTHER), "world_moved"), ((USUAL, OTHER), "variant_moved"), ((OTHER, USUAL), "control_moved")],
)
def test_w1_a_shift_of_the_mix_is_put_down_to_whoever_made_it(after: Pair, reason: str) -> None:
    timeline = run(STEADY * 8 + [after] * 14)
    assert of_arms(timeline) == [reason]
    paused = reason == "variant_moved"
    assert actions(timeline) == ["set_exposure"] + ["pause"] * paused
    assert timeline.it.lifecycle == ("paused" if paused else "holding")
    assert "mix of language moved" in timeline.breaches[0].sentence


def test_a_steady_mix_holds_nothing() -> None:
    assert run(STEADY * 60).findings == []


def test_a_mix_that_breathes_a_little_holds_nothing() -> None:
    """Three in a hundred users of another language, seen beyond doubt, are the hours of a day."""
    hour = (0.47, 0.33, 0.15, 0.05)
    assert run(STEADY * 8 + [(hour, hour)] * 60).findings == []


def test_whose_shift_it_was_stays_undecided_until_the_other_arm_has_seen_enough() -> None:
    timeline = run(STEADY * 20 + [(OTHER, OTHER)] * 5, share=0.1, rows=600, block_rows=600)
    timeline.seconds(10)
    shown = {v.reason for v in timeline.measures()[-1].verdicts if v.rule == "mix_drift[0]"}
    assert "other_arm_pending" in shown
    assert of_arms(timeline) == []


def test_w1_a_value_that_one_arm_hardly_gets_is_named() -> None:
    """Here from the start, so that neither arm ever moves against its own past."""
    starved = (0.55, 0.33, 0.115, 0.005)
    timeline = run([(USUAL, starved)] * 30)
    timeline.seconds(62)
    assert [finding.reason for finding in timeline.breaches] == ["mix_differs"]
    assert "units with language=nl are not split as configured" in timeline.breaches[0].sentence


def test_traces_of_one_busy_user_are_one() -> None:
    timeline = run(STEADY * 8)
    one = fresh(300, 99, (OTHER, OTHER))
    timeline.traces(one)
    for _ in range(30):
        timeline.seconds(1)
        timeline.traces(one)
    timeline.seconds(1)
    assert timeline.findings == []


def test_an_attribute_that_is_no_longer_sent_is_a_shift() -> None:
    timeline = run(STEADY * 8)
    for seed in range(14):
        timeline.traces(traces(300, seed=seed, users=30_000, population=100 + seed))
        timeline.seconds(1)
    assert of_arms(timeline) == ["world_moved"]


def test_rare_values_that_get_a_cell_late_are_no_shift() -> None:
    """A third of the users are of tenants with a dozen users each, who as a segment wait for a cell of their own."""
    timeline = Timeline(spec(MIX.replace("mix: language", "mix: tenant") + "\nsegments: [tenant]")).started()
    rng = np.random.default_rng(2)
    for second in range(40):
        some = traces(300, seed=second, users=15_000, population=second)
        rare = rng.random(300) < 0.33
        number = np.where(rare, rng.integers(10, 110, 300), rng.integers(0, 3, 300))
        some.segments["tenant"] = [f"t{n}" for n in number.tolist()]
        timeline.seconds(1)
        timeline.traces(some)
    timeline.seconds(1)
    assert timeline.findings == []
    assert len(timeline.it.current.dimensions["tenant"].cells) > 60


@pytest.mark.parametrize("block_rows", [1, 37, 299])
def test_how_rows_are_cut_into_blocks_changes_no_bit_of_the_state(block_rows: int) -> None:
    """Among them blocks in which categories are settled and a reference is full in the middle."""
    parts = STEADY * 4 + [(USUAL, OTHER)] * 3
    whole, cut = run(parts), run(parts, block_rows=block_rows)
    first, second = (snapshot.dump(t.it.current.rules["mix_drift[0]"], SECRET) for t in (whole, cut))
    assert first == second


def test_one_arm_alone_finds_nothing() -> None:
    timeline = Timeline(spec(MIX)).started()
    for seed in range(15):
        timeline.seconds(1)
        timeline.traces(of_arm(fresh(300, seed + 1, (OTHER if seed > 8 else USUAL, USUAL)), 0))
    timeline.seconds(1)
    assert timeline.findings == []


def test_a_dimension_that_is_only_watched_is_kept_and_no_segment_of_a_guardrail() -> None:
    text = MIX + "\nguardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.1}}]"
    timeline = run(STEADY * 2, text)
    assert list(timeline.it.current.dimensions) == ["", "language"]
    assert Watched.of(timeline.experiment, 0).segments == ("language",)
    verdicts = timeline.measures()[-1].verdicts
    assert {v.segment for v in verdicts if v.rule == "guardrail[0]"} == {None}


@pytest.mark.parametrize(
    ("watch", "why"),
    [
        ("{mix: language, metric: latency_ms}", "give exactly one of the two"),
        ("{action: pause}", "give exactly one of the two"),
        ("{mix: language, detector: ADWIN}", "a mix has a test of its own"),
        ("{mix: ' '}", "is no dimension"),
    ],
)
def test_a_watch_that_means_nothing_is_refused(watch: str, why: str) -> None:
    with pytest.raises(InvalidExperiment, match=why):
        parse_experiment(spec(f"drift: [{watch}]"))


def test_a_mix_that_is_watched_twice_is_refused() -> None:
    with pytest.raises(InvalidExperiment, match="watched twice"):
        parse_experiment(spec("drift: [{mix: language}, {mix: language}]"))
