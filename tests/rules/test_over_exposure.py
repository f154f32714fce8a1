from __future__ import annotations

import numpy as np
import pytest

from stoploss.errors import InvalidExperiment
from stoploss.spec.file import parse_experiment
from tests.rules.test_sample_ratio import TIMEOUT_S, fresh
from tests.timelines import SPEC, Timeline, Traces, actions, spec, traces

QUIET_SPLIT = "health: {sampleRatio: hold}"


def serve(timeline: Timeline, share: float, seconds: int, seed: int) -> None:
    """New users of whom a share comes to the treatment; then all of their requests have had time to end."""
    for second in range(seconds):
        timeline.seconds(1)
        some = fresh(200, seed + second, share)
        timeline.traces(some, start=np.full(some.rows, timeline.at, "<i8").tobytes(), block_rows=some.rows)
    timeline.seconds(TIMEOUT_S + 2)


def begun(exposure: float = 0.05) -> Timeline:
    return Timeline(spec(QUIET_SPLIT)).started(exposure)


def findings(timeline: Timeline) -> list[str]:
    return [finding.reason for finding in timeline.breaches if finding.evidence.rule == "over_exposure"]


def test_r2_units_above_the_authorised_share_have_the_same_state_ordered_again() -> None:
    timeline = begun()
    serve(timeline, 0.12, 10, seed=1)
    assert actions(timeline) == ["set_exposure", "set_exposure"]
    first, again = timeline.commands
    assert (again.exposure, again.release_variant) == (first.exposure, first.release_variant)
    assert again.sequence > first.sequence
    assert again.expires_at is None
    assert findings(timeline) == ["over_exposed"]
    assert "more units come to 'small' than authorised (9.6 % of 794; log evidence" in timeline.breaches[-1].sentence


def test_r2_it_pauses_where_it_goes_on_after_that() -> None:
    timeline = begun()
    serve(timeline, 0.12, 10, seed=1)
    serve(timeline, 0.12, 10, seed=50)
    assert actions(timeline) == ["set_exposure", "set_exposure", "pause"]
    assert findings(timeline) == ["over_exposed", "still_over_exposed"]
    assert timeline.commands[-1].exposure == 0.0


def test_r2_a_treatment_that_obeys_the_second_order_is_not_paused() -> None:
    timeline = begun()
    serve(timeline, 0.12, 10, seed=1)
    serve(timeline, 0.05, 40, seed=50)
    assert actions(timeline) == ["set_exposure", "set_exposure"]


@pytest.mark.parametrize("share", [0.05, 0.02])
def test_units_at_or_below_their_share_are_no_over_exposure(share: float) -> None:
    timeline = begun()
    serve(timeline, share, 40, seed=1)
    assert findings(timeline) == []


def test_units_on_their_way_while_the_order_was_given_again_are_not_held_against_it() -> None:
    """Requests that began before the second command were assigned under the first."""
    timeline = begun()
    serve(timeline, 0.12, 10, seed=1)
    ordered_at = timeline.commands[-1].decided_at
    for second in range(10):
        timeline.seconds(1)
        some = fresh(200, 70 + second, share=0.12)
        timeline.traces(some, start=np.full(some.rows, ordered_at - 1, "<i8").tobytes(), block_rows=some.rows)
    timeline.seconds(TIMEOUT_S + 2)
    assert findings(timeline) == ["over_exposed"]


def test_nothing_is_counted_while_the_second_order_waits_for_its_ack() -> None:
    controlled = SPEC.replace("control: current}", "control: current, controllers: [flagd]}")
    timeline = Timeline(spec(QUIET_SPLIT, controlled)).started(0.05)
    serve(timeline, 0.12, 10, seed=1)
    serve(timeline, 0.12, 10, seed=50)
    assert actions(timeline) == ["set_exposure", "set_exposure"]
    timeline.ack("flagd")
    serve(timeline, 0.12, 10, seed=90)
    assert actions(timeline) == ["set_exposure", "set_exposure", "pause"]


def test_r2_a_skewed_split_holds_and_masks_no_harm() -> None:
    guarded = "guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.10}, action: rollback}]"
    timeline = Timeline(spec(guarded)).started(0.5)
    serve(timeline, 0.35, 10, seed=1)
    assert timeline.it.lifecycle == "holding"
    for seed in range(50, 56):
        timeline.traces(of_new_users(1_000, seed))
        timeline.seconds(1)
    assert actions(timeline)[-1] == "rollback"


def of_new_users(n: int, seed: int) -> Traces:
    return traces(n, seed=seed, users=50_000, population=seed, share=0.35, error_rate=(0.02, 0.4))


def test_acting_on_a_split_that_is_not_believed_is_refused() -> None:
    with pytest.raises(InvalidExperiment, match=r"spec.health.overExposure: 'act' rests on the split"):
        parse_experiment(spec("health: {sampleRatio: off, overExposure: act}"))
    assert not parse_experiment(spec("health: {sampleRatio: off}")).spec.health.watches_over_exposure
