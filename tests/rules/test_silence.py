from __future__ import annotations

import pytest

from stoploss.ledger import Source
from stoploss.lifecycle import Lifecycle
from tests.timelines import SOURCE, SPEC, Timeline, actions, of_arm, spec, traces

SILENCE = "health: {sampleRatio: off, silence: {after: 10s, do: pause}}"


def begun(text: str = SILENCE, base: str = SPEC) -> Timeline:
    timeline = Timeline(spec(text, base)).started()
    timeline.traces(traces(50, seed=1))
    return timeline


def talk(timeline: Timeline, seconds: int, arm: int | None = None) -> None:
    for second in range(seconds):
        some = traces(20, seed=second)
        timeline.traces(some if arm is None else of_arm(some, arm))
        timeline.seconds(1)


def test_silence_pauses_when_its_time_has_come_and_not_before() -> None:
    timeline = begun()
    timeline.seconds(9)
    assert timeline.findings == []
    timeline.seconds(1)
    assert actions(timeline) == ["set_exposure", "pause"]
    assert {finding.severity for finding in timeline.breaches} == {"page"}
    assert "10 seconds without a trace of the" in timeline.breaches[0].sentence


@pytest.mark.parametrize(("silent", "name"), [(0, "control"), (1, "treatment")])
def test_one_silent_arm_is_enough_and_it_is_named(silent: int, name: str) -> None:
    timeline = begun()
    talk(timeline, 12, arm=1 - silent)
    [finding] = timeline.breaches
    assert f"without a trace of the {name} arm" in finding.sentence


def test_traffic_is_not_silence() -> None:
    timeline = begun()
    talk(timeline, 40)
    assert timeline.findings == []


def test_a_frozen_broker_silences_nobody() -> None:
    """No ticks, no silence: ten minutes pass between two of them."""
    timeline = begun()
    timeline.seconds(5)
    timeline.at += 600_000_000
    timeline.seconds(4)
    assert timeline.findings == []


def test_a_source_that_is_behind_silences_nobody() -> None:
    timeline = begun()
    timeline.seconds(60, lag=5_000)
    assert timeline.findings == []


def test_a_source_that_is_not_read_any_more_silences_nobody() -> None:
    """Ticks go on, intake has stopped saying how far it is: the judge is blind, the arms are not silent."""
    timeline = begun()
    for _ in range(60):
        timeline.at += 1_000_000
        timeline.tick()
    assert timeline.findings == []


def test_one_unread_source_of_two_is_enough_to_know_nothing() -> None:
    timeline = begun()
    for _ in range(30):
        timeline.at += 1_000_000
        timeline.status()
        timeline.status(lag=5_000, source=Source(SOURCE.topic, SOURCE.topic_uuid, 1))
        timeline.tick()
    assert timeline.findings == []


def test_a_topic_that_was_made_again_does_not_leave_the_judge_blind() -> None:
    """The topic of before says nothing any more; its place is taken by the one that is read now."""
    timeline = begun()
    timeline.seconds(1)
    for _ in range(30):
        timeline.at += 1_000_000
        timeline.status(source=Source(SOURCE.topic, "another uuid", SOURCE.partition))
        timeline.tick()
    assert actions(timeline) == ["set_exposure", "pause"]


def test_silence_ends_when_the_arm_is_heard_again_and_that_is_said() -> None:
    timeline = begun(SILENCE.replace("pause", "hold"))
    timeline.seconds(12)
    assert timeline.it.lifecycle == Lifecycle.HOLDING
    talk(timeline, 1)
    assert [(f.verdict, f.reason) for f in timeline.findings] == [("breach", "silent")] * 2 + [("ok", "heard")] * 2
    assert timeline.findings[-1].sentence.endswith("arm is heard again")
    timeline.seconds(12)
    assert [f.verdict for f in timeline.findings] == ["breach", "breach", "ok", "ok", "breach", "breach"]


def test_before_controllers_have_applied_the_start_nobody_is_silent() -> None:
    timeline = Timeline(spec(SILENCE, SPEC.replace("control: current}", "control: current, controllers: [flagd]}")))
    timeline.ask("register")
    timeline.ask("start")
    timeline.seconds(30)
    assert timeline.findings == []
    timeline.ack("flagd")
    timeline.seconds(10)
    assert actions(timeline) == ["set_exposure", "pause"]


def test_a_paused_experiment_is_not_silent() -> None:
    timeline = begun()
    timeline.ask("pause")
    timeline.seconds(30)
    assert timeline.findings == []


def test_control_need_not_be_heard_while_everybody_is_in_the_treatment() -> None:
    timeline = Timeline(spec(SILENCE)).started(exposure=1.0)
    talk(timeline, 30, arm=1)
    assert timeline.findings == []
