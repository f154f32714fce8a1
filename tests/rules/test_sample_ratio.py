from __future__ import annotations

import math

import numpy as np
import pytest

from stoploss.lifecycle import Lifecycle
from stoploss.stats.sample_ratio import EpochCounts, log_e
from tests.timelines import SPEC, Timeline, Traces, actions, spec, traces, with_gate

LIMIT = math.log(1_000)
TIMEOUT_S = 60
ERRORS = """
guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.10}, action: pause}]
health: {overExposure: off}
"""
SECOND = 1_000_000


def fresh(n: int, seed: int, share: float = 0.5) -> Traces:
    """Traces of users never seen before, one each."""
    return traces(n, seed=seed, users=50 * n, population=seed, share=share)


def run(parts: list[Traces], extra: str = "health: {overExposure: off}", exposure: float = 0.5) -> Timeline:
    timeline = Timeline(spec(extra)).started(exposure)
    for some in parts:
        timeline.seconds(1)
        timeline.traces(some, start=np.full(some.rows, timeline.at, "<i8").tobytes(), block_rows=some.rows)
    return timeline


def holding(timeline: Timeline) -> bool:
    return timeline.it.lifecycle == Lifecycle.HOLDING


def test_a_skew_from_half_to_sixty_percent_holds_once_the_requests_are_past_their_timeout() -> None:
    timeline = run([fresh(200, seed, share=0.6) for seed in range(10)])
    timeline.seconds(TIMEOUT_S - 15)
    assert timeline.findings == []
    timeline.seconds(20)
    assert holding(timeline)
    [finding] = timeline.breaches
    assert (finding.evidence.rule, finding.severity) == ("sample_ratio", "hold")
    assert "the split is not as configured" in finding.sentence
    assert actions(timeline) == ["set_exposure"]


def test_a_treatment_below_its_share_is_partial_exposure_and_holds() -> None:
    """R2"""
    timeline = run([fresh(200, seed, share=0.4) for seed in range(10)], "segments: []")
    timeline.seconds(TIMEOUT_S + 5)
    [finding] = timeline.breaches
    assert (finding.reason, finding.severity) == ("partial_exposure", "hold")
    assert "partial exposure: fewer units come to 'small' than the split says (31.8 % of 198" in finding.sentence
    assert (actions(timeline), holding(timeline)) == (["set_exposure"], True)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_split_as_configured_does_not_hold(share: float) -> None:
    timeline = run([fresh(400, seed, share=share) for seed in range(20)], exposure=share)
    timeline.seconds(TIMEOUT_S + 5)
    assert timeline.findings == []
    counted = timeline.it.current.rules["sample_ratio"].units.totals()  # type: ignore[union-attr]
    assert 7_500 < sum(counted) <= 8_000


def test_a_spec_may_pause_at_a_skew_or_look_away() -> None:
    skewed = [fresh(200, seed, share=0.6) for seed in range(10)]
    for choice, ordered in (("pause", ["set_exposure", "pause"]), ("off", ["set_exposure"])):
        timeline = run(skewed, f"health: {{sampleRatio: {choice}, overExposure: off}}")
        timeline.seconds(TIMEOUT_S + 5)
        assert actions(timeline) == ordered
        assert not holding(timeline)


def test_users_that_come_back_count_once() -> None:
    """One busy user in twenty, all in the treatment: traces are skewed, units are not."""
    parts = []
    for second in range(20):
        some = traces(500, seed=second, users=2_000)
        twice = np.r_[np.arange(some.rows), np.flatnonzero(some.variant == 1)]
        parts.append(
            Traces(some.variant[twice], some.unit[twice], {name: x[twice] for name, x in some.metrics.items()})
        )
    timeline = run(parts)
    timeline.seconds(TIMEOUT_S + 5)
    assert timeline.findings == []
    counted = timeline.it.current.rules["sample_ratio"].units.totals()  # type: ignore[union-attr]
    assert sum(counted) <= 2_000


def arriving(second: int, control_s: float, treatment_s: float, rate: int) -> tuple[Traces, np.ndarray]:
    """What ends in a second when `rate` requests begin in each, and how long ago each began in microseconds."""
    some = fresh(rate, second)
    keep = np.flatnonzero(np.where(some.variant == 1, second >= treatment_s, second >= control_s))
    took = np.where(some.variant[keep] == 1, treatment_s, control_s) * SECOND
    part = Traces(some.variant[keep], some.unit[keep], {name: x[keep] for name, x in some.metrics.items()})
    return part, took.astype(np.int64)


def test_a_treatment_four_seconds_slower_is_no_skew() -> None:
    """By completion it would be: four seconds of its requests are always missing."""
    timeline = Timeline().started()
    completed = np.zeros(2, int)
    for second in range(40):
        timeline.seconds(1)
        some, took = arriving(second, 0.5, 4.5, rate=400)
        timeline.traces(some, start=(timeline.at - took).astype("<i8").tobytes(), block_rows=400)
        completed += np.bincount(some.variant, minlength=2)
    assert log_e([EpochCounts(int(completed[0]), int(completed[1]), 0.5)]) > LIMIT
    timeline.seconds(20)
    assert timeline.findings == []


def test_requests_that_began_before_the_epoch_are_of_another_split() -> None:
    """While the flag turns, everything in flight is still control's; its users come back as the treatment's."""
    timeline = Timeline().started()
    timeline.seconds(1)
    opened = timeline.at
    in_flight = fresh(600, seed=1)
    in_flight.variant[:] = 0
    timeline.traces(in_flight, start=np.full(600, opened - 3 * SECOND, "<i8").tobytes(), block_rows=600)
    for seed in range(2, 12):
        timeline.seconds(1)
        some = fresh(100, seed) if seed % 2 else fresh(600, seed=1)
        timeline.traces(some, start=np.full(some.rows, timeline.at, "<i8").tobytes(), block_rows=600)
    timeline.seconds(TIMEOUT_S + 5)
    assert timeline.findings == []


def test_units_in_two_variants_hold_and_are_counted_in_words() -> None:
    parts = [fresh(200, seed) for seed in range(5)]
    for some in list(parts):
        turned = Traces(1 - some.variant[:20], some.unit[:20], {name: x[:20] for name, x in some.metrics.items()})
        parts.append(turned)
    timeline = run(parts)
    assert holding(timeline)
    [finding] = timeline.breaches
    assert finding.reason == "unit_in_two_variants"
    assert "sampled units were seen in both variants" in finding.sentence


def test_a_few_units_in_two_variants_are_no_finding() -> None:
    parts = [fresh(200, seed) for seed in range(5)]
    parts.append(Traces(1 - parts[0].variant[:4], parts[0].unit[:4], {n: x[:4] for n, x in parts[0].metrics.items()}))
    assert run(parts).findings == []


def test_a_hold_masks_no_harm_of_a_gate() -> None:
    timeline = run([fresh(200, seed, share=0.6) for seed in range(10)])
    timeline.seconds(TIMEOUT_S + 5)
    assert holding(timeline)
    some = fresh(50, seed=99)
    timeline.traces(with_gate(some, int((some.variant == 1).argmax()), 0))
    assert actions(timeline) == ["set_exposure", "stop"]


def test_a_hold_masks_no_harm_of_a_guardrail() -> None:
    timeline = run([fresh(200, seed, share=0.6) for seed in range(10)], ERRORS)
    timeline.seconds(TIMEOUT_S + 5)
    assert holding(timeline)
    for seed in range(50, 54):
        timeline.traces(traces(1_000, seed=seed, users=50_000, error_rate=(0.02, 0.4)))
        timeline.seconds(1)
    assert actions(timeline) == ["set_exposure", "pause"]


def test_rows_between_a_command_and_its_acks_are_not_counted() -> None:
    controlled = SPEC.replace("control: current}", "control: current, controllers: [flagd]}")
    timeline = Timeline(controlled)
    timeline.ask("register")
    timeline.ask("start")
    for seed in range(5):
        timeline.seconds(1)
        timeline.traces(fresh(400, seed, share=0.9))
    timeline.seconds(TIMEOUT_S + 5)
    assert timeline.findings == []


def test_everybody_in_the_treatment_has_no_ratio() -> None:
    timeline = run([fresh(200, seed, share=1.0) for seed in range(5)], exposure=1.0)
    timeline.seconds(TIMEOUT_S + 5)
    assert timeline.findings == []
