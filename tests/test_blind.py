"""Blind is a state: what the judge misses, how long in ticks, and what it does then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from stoploss import monitor, snapshot
from stoploss.canary import canary_of
from stoploss.commands import Action
from stoploss.errors import InvalidExperiment
from stoploss.journal import ExposuresCounted, LifecycleChanged, MonitorBlind
from stoploss.ledger import AssignmentsCounted, BegunCount, Entry, Source, SourceStatus
from stoploss.lifecycle import Lifecycle
from stoploss.sight import LEAST_BEGUN, REPEATS_TICKS, STATUS_TICKS, TRACE_TICKS, WINDOW_TICKS
from stoploss.spec.file import parse_experiment
from stoploss.state import PartitionState
from tests.timelines import (
    SECRET,
    SOURCE,
    Timeline,
    actions,
    bytes_of,
    chain_holds,
    refolded,
    spec,
    stored,
    traces,
    with_gate,
)

MINUTE = 60_000_000
QUICK = "health: {blind: {hold: 5s, then: pause, after: 20s}}"


def begun(text: str = QUICK) -> Timeline:
    timeline = Timeline(spec(text)).started()
    timeline.seconds(2)
    return timeline


def only_ticks(timeline: Timeline, seconds: int) -> None:
    """The judge lives, and intake says nothing."""
    for _ in range(seconds):
        timeline.at += 1_000_000
        timeline.tick()


def canary(timeline: Timeline) -> None:
    [block] = timeline.blocks(traces(1, seed=1), experiment=canary_of(0))
    timeline.append(block)


def causes(timeline: Timeline) -> list[tuple[str, bool]]:
    """What was said of blindness: its cause, and whether it was over."""
    return [(said.cause, said.until is not None) for said in timeline.said(MonitorBlind)]


# ---- what is done ----------------------------------------------------------------------------------


def test_by_default_it_holds_after_half_a_minute_and_pauses_after_five_and_says_why() -> None:
    timeline = begun("segments: [tenant]")
    only_ticks(timeline, STATUS_TICKS - 1)
    assert causes(timeline) == []
    only_ticks(timeline, 1)
    [said] = timeline.said(MonitorBlind)
    assert (said.cause, said.since, said.until) == ("source_missing", timeline.at, None)
    assert said.reason == "intake has said nothing of stoploss.traces/0 for 16 seconds (limit 15)"
    only_ticks(timeline, 28)
    assert timeline.it.lifecycle == Lifecycle.RUNNING
    only_ticks(timeline, 1)
    assert timeline.it.lifecycle == Lifecycle.HOLDING
    only_ticks(timeline, 269)
    assert actions(timeline) == ["set_exposure"]
    only_ticks(timeline, 1)
    assert actions(timeline) == ["set_exposure", "pause"]
    pause = timeline.commands[-1]
    assert (pause.exposure, pause.release_variant) == (0.0, "current")
    assert pause.evidence is not None
    assert (pause.evidence.rule, pause.evidence.observed, pause.evidence.bound) == ("blind", 300.0, 300.0)
    assert "has not been seen for 300 seconds: intake has said nothing of stoploss.traces/0" in pause.reason
    assert chain_holds(timeline.journal)


def test_a_stop_may_be_asked_for_and_latches() -> None:
    timeline = begun("health: {blind: {hold: 5s, then: stop, after: 20s}}")
    only_ticks(timeline, 40)
    assert actions(timeline) == ["set_exposure", "stop"]
    timeline.seconds(5)
    assert timeline.it.lifecycle == Lifecycle.STOPPED


def test_nothing_but_a_hold_may_be_asked_for() -> None:
    timeline = begun("health: {blind: {hold: 5s, then: none}}")
    only_ticks(timeline, 600)
    assert (actions(timeline), timeline.it.lifecycle) == (["set_exposure"], Lifecycle.HOLDING)


def test_it_ends_by_itself_and_so_does_the_hold() -> None:
    timeline = begun()
    only_ticks(timeline, STATUS_TICKS + 10)
    since = timeline.said(MonitorBlind)[0].since
    assert timeline.it.lifecycle == Lifecycle.HOLDING
    timeline.seconds(1)
    over = timeline.said(MonitorBlind)[-1]
    assert (over.cause, over.since, over.until) == ("source_missing", since, timeline.at)
    assert (timeline.it.lifecycle, timeline.it.epoch_open) == (Lifecycle.RUNNING, True)
    assert timeline.registry()[-1].lifecycle == "running"
    timeline.seconds(60)
    assert len(causes(timeline)) == 2
    assert actions(timeline) == ["set_exposure"]


def test_a_hold_that_something_else_asked_for_as_well_stays() -> None:
    timeline = begun()
    only_ticks(timeline, STATUS_TICKS + 10)
    timeline.traces(with_gate(traces(50, seed=1, share=0.0), 3, bit=0))
    timeline.seconds(5)
    assert causes(timeline)[-1] == ("source_missing", True)
    assert timeline.it.lifecycle == Lifecycle.HOLDING


def test_a_pause_waits_for_a_person_and_the_end_of_the_blindness_is_said_all_the_same() -> None:
    timeline = begun()
    only_ticks(timeline, 60)
    timeline.seconds(30)
    assert timeline.it.lifecycle == Lifecycle.PAUSED
    assert causes(timeline) == [("source_missing", False), ("source_missing", True)]
    timeline.ask("resume")
    assert timeline.it.lifecycle == Lifecycle.RUNNING


def test_a_run_without_exposure_has_nothing_to_be_blind_of() -> None:
    timeline = Timeline(spec(QUICK))
    timeline.ask("register")
    only_ticks(timeline, 60)
    timeline.ask("start")
    timeline.ask("stop")
    only_ticks(timeline, 60)
    assert causes(timeline) == []


def test_harm_is_answered_at_once_while_it_is_blind() -> None:
    timeline = begun("health: {blind: {hold: 5s, then: pause, after: 20s}}")
    only_ticks(timeline, 30)
    timeline.traces(with_gate(traces(50, seed=2, share=1.0), 3, bit=0))
    assert actions(timeline)[-1] == "stop"
    only_ticks(timeline, 60)
    assert actions(timeline)[-1] == "stop"


# ---- time ------------------------------------------------------------------------------------------


def test_a_broker_that_is_frozen_for_ten_minutes_pauses_nobody_by_itself() -> None:
    """Nothing is written while it is frozen; then ledger time jumps, a backlog is read, and intake joins last."""
    timeline = begun()
    canary(timeline)
    timeline.traces(traces(50, seed=1))
    timeline.at += 10 * MINUTE
    timeline.status(lag=1_000_000)
    only_ticks(timeline, 3)
    for seed in range(20):
        timeline.traces(traces(500, seed=seed))
    timeline.seconds(3)
    for _ in range(20):
        canary(timeline)
        timeline.seconds(5)
    assert actions(timeline) == ["set_exposure"]
    assert timeline.it.lifecycle == Lifecycle.RUNNING


def test_a_jump_alone_is_nothing_to_be_said_of() -> None:
    timeline = begun()
    canary(timeline)
    for _ in range(20):
        timeline.at += 10 * MINUTE
        timeline.seconds(1)
    assert causes(timeline) == []


@pytest.mark.parametrize("stretched", [range(0), range(30), range(20, 22), range(15, 60, 7)])
def test_only_ticks_count_however_long_they_took(stretched: range) -> None:
    """The same facts, with ten minutes between some of them: the same is done, at the same ticks."""
    timeline = begun()
    only_ticks(timeline, 60)
    late, entries = 0, []
    for entry in timeline.entries:
        late += 10 * MINUTE if entry.offset in stretched else 0
        entries.append(replace(entry, at=entry.at + late))
    assert acts(entries) == acts(timeline.entries)
    assert [offset for offset, _ in acts(entries)] != []


def acts(entries: list[Entry]) -> list[tuple[int, str]]:
    """What was done, and at which entry."""
    done, state = [], PartitionState(0)
    for entry in entries:
        refolded([entry], state)
        experiment = state.experiments.get("checkout")
        done.append((entry.offset, str(experiment.lifecycle) if experiment else ""))
    return done


def test_a_judge_that_takes_over_in_the_middle_counts_on() -> None:
    timeline = begun()
    canary(timeline)
    timeline.append(counts(30))
    only_ticks(timeline, 40)
    state, outputs = PartitionState(0), []
    for entry in timeline.entries:
        state = snapshot.load(PartitionState, stored(state), SECRET)
        outputs += refolded([entry], state)
    assert bytes_of(outputs) == bytes_of(timeline.outputs)
    assert actions(timeline)[-1] == "pause"


# ---- what is missed --------------------------------------------------------------------------------


def test_a_run_of_which_intake_never_said_anything_is_not_seen() -> None:
    timeline = Timeline(spec(QUICK)).started()
    only_ticks(timeline, STATUS_TICKS + 1)
    assert [said.reason for said in timeline.said(MonitorBlind)] == [
        "intake has said nothing of any source since the run began, 16 seconds ago (limit 15)"
    ]


def test_one_source_of_two_is_enough() -> None:
    timeline = begun()
    timeline.status(source=Source(SOURCE.topic, SOURCE.topic_uuid, 1))
    timeline.seconds(STATUS_TICKS + 1)
    assert causes(timeline) == [("source_missing", False)]


def test_a_source_that_nobody_reads_is_missed_in_the_run_that_a_person_begins_too() -> None:
    timeline = begun()
    timeline.status(source=Source(SOURCE.topic, SOURCE.topic_uuid, 1))
    timeline.seconds(60)
    timeline.ask("resume")
    timeline.seconds(60)
    assert causes(timeline) == 2 * [("source_missing", False)]
    assert timeline.it.lifecycle == Lifecycle.PAUSED


def test_a_source_of_which_nothing_was_said_for_a_day_is_expected_by_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its topic was given up."""
    monkeypatch.setattr(monitor, "FORGOTTEN_TICKS", 100)
    timeline = begun()
    timeline.status(source=Source(SOURCE.topic, SOURCE.topic_uuid, 1))
    timeline.seconds(101)
    said = causes(timeline)
    timeline.ask("resume")
    timeline.seconds(60)
    assert causes(timeline) == said
    assert timeline.it.lifecycle == Lifecycle.RUNNING


def test_a_topic_that_was_made_again_takes_the_place_of_the_one_before() -> None:
    timeline = begun()
    for _ in range(60):
        timeline.at += 1_000_000
        timeline.status(source=Source(SOURCE.topic, "another uuid", SOURCE.partition))
        timeline.tick()
    assert causes(timeline) == []


def test_intake_far_behind_does_not_see_and_a_little_behind_does() -> None:
    timeline = begun("health: {blind: {lagLimit: 5000}}")
    timeline.seconds(60, lag=5_000)
    assert causes(timeline) == []
    timeline.seconds(1, lag=5_001)
    [said] = timeline.said(MonitorBlind)
    assert said.reason == "intake is 5,001 records behind in stoploss.traces/0 (limit 5,000)"


def test_a_source_of_which_only_repeats_come_is_not_seen() -> None:
    timeline = begun()
    [block] = timeline.blocks(traces(50, seed=1))
    timeline.append(block)
    for _ in range(REPEATS_TICKS + 1):
        timeline.seconds(1)
        timeline.append(block)
    [said] = timeline.said(MonitorBlind)
    assert said.cause == "only_repeats"
    assert said.reason.endswith("for 30 seconds (limit 30)")
    timeline.traces(traces(1, seed=2))
    timeline.seconds(1)
    assert causes(timeline)[-1] == ("only_repeats", True)


@pytest.mark.parametrize("then", ["nothing", "something new"])
def test_a_worker_that_sends_some_rows_again_once_blinds_nobody(then: str) -> None:
    timeline = begun()
    [block] = timeline.blocks(traces(50, seed=1))
    timeline.append(block)
    for second in range(60):
        if second in (0, 1, 30, 31):
            timeline.append(block)
            timeline.append(block)
        if then == "something new":
            timeline.traces(traces(2, seed=second))
        timeline.seconds(1)
    assert causes(timeline) == []


def told(timeline: Timeline, kept: int, rejected: int, quarantined: int = 0) -> None:
    timeline.at += 1_000_000
    timeline.append(SourceStatus(SOURCE, 0, 0, kept, rejected, quarantined, 0, 0, (), timeline.at))
    timeline.tick()


@pytest.mark.parametrize(
    ("kept", "rejected", "quarantined", "blind"),
    [(4, 6, 0, True), (4, 0, 6, True), (5, 5, 0, False), (0, 1, 0, False)],
)
def test_intake_that_refuses_more_than_half_of_many_records_does_not_see(
    kept: int, rejected: int, quarantined: int, blind: bool
) -> None:
    """Counts that a worker keeps, a second; a handful of bad records a minute is no blindness."""
    timeline = begun()
    for second in range(1, WINDOW_TICKS + 2):
        told(timeline, kept * second, rejected * second, quarantined * second)
    assert causes(timeline) == ([("rejects", False)] if blind else [])


def counts(begun_: int) -> AssignmentsCounted:
    return AssignmentsCounted("checkout", (BegunCount("current", begun_ // 2), BegunCount("small", begun_ // 2)), "s")


def test_services_that_count_requests_of_which_no_trace_comes_are_not_seen() -> None:
    timeline = begun()
    timeline.traces(traces(20, seed=1))
    timeline.append(counts(LEAST_BEGUN))
    limit = TRACE_TICKS + timeline.experiment.spec.assignment.service_timeout
    timeline.seconds(limit)
    assert causes(timeline) == []
    timeline.seconds(1)
    [said] = timeline.said(MonitorBlind)
    assert said.reason == f"services have begun 20 requests since the last trace, 121 seconds ago (limit {limit})"
    timeline.traces(traces(20, seed=2))
    timeline.seconds(1)
    assert causes(timeline)[-1] == ("traces_missing", True)


def quiet(timeline: Timeline) -> None:
    """Nobody asks anything: no traces, and nothing is counted."""


def few(timeline: Timeline) -> None:
    timeline.append(counts(2))


def busy(timeline: Timeline) -> None:
    timeline.append(counts(40))
    timeline.traces(traces(40, seed=len(timeline.entries)))


@pytest.mark.parametrize("once_a_minute", [quiet, few, busy])
def test_no_requests_few_requests_and_requests_with_traces_blind_nobody(
    once_a_minute: Callable[[Timeline], None],
) -> None:
    timeline = begun()
    for _ in range(5):
        once_a_minute(timeline)
        timeline.seconds(60)
    assert causes(timeline) == []


def test_what_is_counted_of_an_experiment_that_nobody_registered_is_passed_over() -> None:
    timeline = begun()
    assert timeline.append(AssignmentsCounted("unknown", (BegunCount("small", 9),), "s")) == []


# ---- what the spec may say -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{hold: 5m, after: 5m}", r"after \(300 s\) is not above hold \(300 s\)"),
        ("{then: rollback}", "then"),
        ("{lagLimit: 0}", "lagLimit"),
        ("{rejectLimit: 1}", "rejectLimit"),
        ("{hold: never}", "hold"),
        ("{silence: 1m}", "is no field"),
    ],
)
def test_what_the_spec_cannot_mean_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(InvalidExperiment, match=rf"(?s)health\.blind.*{why}"):
        parse_experiment(spec(f"health: {{blind: {text}}}"))


def test_what_is_done_stands_between_what_is_said() -> None:
    """The order in the journal: blind, held, paused."""
    timeline = begun()
    only_ticks(timeline, 40)
    kinds = [type(said).__name__ for said in timeline.conclusions if not isinstance(said, ExposuresCounted)]
    assert kinds[-4:] == ["MonitorBlind", "LifecycleChanged", "CommandIssued", "LifecycleChanged"]
    changes = [(said.before, said.after) for said in timeline.said(LifecycleChanged)][-2:]
    assert changes == [("running", "holding"), ("holding", "paused")]
    assert timeline.commands[-1].action is Action.PAUSE
