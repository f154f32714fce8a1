from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from stoploss import journal
from stoploss.errors import MalformedRecord
from stoploss.journal import EvidenceRefused, ExposuresCounted, Finding, RequestHandled
from stoploss.ledger import Request, Source
from stoploss.lifecycle import Lifecycle
from stoploss.monitor import SLOW_TICK
from stoploss.segments import CAPACITY, EVERYBODY, PATIENCE, Dimension
from stoploss.snapshot import dump
from tests.test_time_order import chatter, steady
from tests.timelines import (
    EVERY_RULE,
    SECRET,
    SOURCE,
    SPEC,
    Timeline,
    actions,
    chain_holds,
    spec,
    stored,
    traces,
    tripping,
)


def refused(timeline: Timeline) -> dict[str, int]:
    """Rows that were not judged, by cause, as the journal has them last."""
    return {said.cause: said.rows for said in timeline.said(EvidenceRefused)}


def rows_shown(timeline: Timeline) -> int:
    """Rows of everybody whose latency people see: those of both arms come first."""
    assert next(iter(timeline.it.current.metrics.metrics["latency_ms"].room)) == EVERYBODY
    return int(timeline.it.current.metrics.metrics["latency_ms"].n[:2].sum())


# ---- what is dropped -----------------------------------------------------------------------------


def test_a_block_that_contradicts_itself_is_refused_and_the_state_is_as_before() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    before = stored(timeline.state)
    [block] = timeline.blocks(traces(20, seed=1))
    timeline.at += 5_000_000
    with pytest.raises(MalformedRecord):
        timeline.append(replace(block, offset=block.offset[:-1]))
    assert stored(timeline.state) == before


def test_a_repeated_block_is_dropped_whole() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    [block] = timeline.blocks(traces(200, seed=1))
    timeline.append(block)
    once = dump(timeline.it, SECRET)
    timeline.append(block)
    assert dump(timeline.it, SECRET) == once


def test_a_repeat_that_overlaps_is_trimmed_to_its_new_rows() -> None:
    some = traces(300, seed=1)
    whole, cut = Timeline(spec(EVERY_RULE)).started(), Timeline(spec(EVERY_RULE)).started()
    [block] = whole.blocks(some)
    whole.append(block)
    first, _, _ = cut.blocks(some, block_rows=100)
    cut.append(first)
    cut.append(block)
    assert dump(whole.it.current, SECRET) == dump(cut.it.current, SECRET)
    assert whole.it.watermarks == cut.it.watermarks == {SOURCE.key: 299}


def test_a_topic_that_was_made_again_starts_anew() -> None:
    timeline = Timeline().started()
    timeline.traces(traces(100, seed=1))
    timeline.source = Source(SOURCE.topic, "another uuid", 0)
    [block] = timeline.blocks(traces(50, seed=2), offset=np.arange(50, dtype="<i8").tobytes())
    timeline.append(block)
    assert timeline.it.watermarks == {SOURCE.key: 99, "another uuid/0": 49}
    assert timeline.it.seen.seen.any()
    timeline.seconds(1)
    assert refused(timeline) == {}


def test_a_trace_sent_twice_under_two_offsets_counts_once() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    [first] = timeline.blocks(traces(100, seed=1))
    [second] = timeline.blocks(traces(100, seed=1))
    timeline.append(first)
    once = rows_shown(timeline)
    timeline.append(replace(second, trace=first.trace))
    assert rows_shown(timeline) == once == 100
    timeline.seconds(1)
    assert refused(timeline) == {"trace sent before": 100}


def test_a_trace_sent_twice_in_one_block_counts_once() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    [block] = timeline.blocks(traces(4, seed=1), trace=np.array([7, 8, 7, 9], "<u8").tobytes())
    timeline.append(block)
    assert rows_shown(timeline) == 3


def test_rows_projected_under_another_spec_are_not_judged_and_that_is_said() -> None:
    timeline = Timeline().started()
    timeline.traces(tripping(), spec_hash="0" * 64)
    timeline.seconds(1)
    assert refused(timeline) == {"projected under another spec": 50}
    assert timeline.findings == []


def test_a_variant_that_was_not_declared_is_counted_and_said() -> None:
    timeline = Timeline().started()
    some = traces(40, seed=1)
    some.variant[:15] = 255
    timeline.traces(some)
    timeline.seconds(1)
    assert refused(timeline) == {"variant not declared": 15}
    assert rows_shown(timeline) == 25


def test_what_is_refused_is_said_again_only_when_it_has_doubled() -> None:
    timeline = Timeline().started()
    for seed in range(16):
        timeline.traces(traces(10, seed=seed), spec_hash="0" * 64)
        timeline.seconds(1)
    assert [said.rows for said in timeline.said(EvidenceRefused)] == [10, 20, 40, 80, 160]


def test_evidence_of_an_experiment_that_nobody_registered_says_nothing() -> None:
    timeline = Timeline()
    assert timeline.traces(traces(10, seed=1)) == []
    assert timeline.state.experiments == {}


def test_evidence_before_the_start_is_counted_and_not_judged() -> None:
    timeline = Timeline()
    timeline.ask("register")
    timeline.traces(tripping())
    timeline.seconds(1)
    assert refused(timeline) == {"not started": 50}
    assert timeline.findings == []


# ---- epochs --------------------------------------------------------------------------------------


def compared(timeline: Timeline) -> int:
    """Rows that the first guardrail has compared."""
    return int(timeline.it.current.rules["guardrail[0]"].totals[""].shown_n.sum())  # type: ignore[union-attr]


@pytest.mark.parametrize(("run", "epoch", "rows"), [(1, 1, 200), (1, 2, 0), (1, 0, 0), (2, 1, 0), (-1, -1, 200)])
def test_rows_with_the_stamp_of_another_run_or_epoch_are_not_compared(run: int, epoch: int, rows: int) -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    stamp_run, stamp_epoch = (np.full(200, stamp, "<i4").tobytes() for stamp in (run, epoch))
    timeline.traces(traces(200, seed=1, users=10_000), stamp_run=stamp_run, stamp_epoch=stamp_epoch)
    assert compared(timeline) == rows
    assert rows_shown(timeline) == 200


CONTROLLED = SPEC.replace("control: current}", "control: current, controllers: [flagd]}")


def between_command_and_ack() -> Timeline:
    timeline = Timeline(spec(EVERY_RULE, CONTROLLED))
    timeline.ask("register")
    timeline.ask("start")
    return timeline


def test_rows_between_a_command_and_its_last_ack_are_counted_and_not_compared() -> None:
    timeline = between_command_and_ack()
    timeline.traces(traces(300, seed=1, users=10_000))
    assert compared(timeline) == 0
    assert not timeline.it.seen.seen.any()
    assert rows_shown(timeline) == 300
    spent = timeline.it.current.rules["budget[0]"].ring  # type: ignore[union-attr]
    assert int(spent[0].sum()) == int((traces(300, seed=1, users=10_000).variant == 1).sum())
    timeline.ack("flagd")
    timeline.traces(traces(300, seed=2, users=10_000))
    assert compared(timeline) == 300


def test_a_gate_between_a_command_and_its_last_ack_stops_at_once() -> None:
    timeline = between_command_and_ack()
    timeline.traces(tripping())
    assert actions(timeline) == ["set_exposure", "stop"]


# ---- requests ------------------------------------------------------------------------------------


def test_a_request_that_is_sent_twice_is_obeyed_once() -> None:
    timeline = Timeline().started()
    pause = Request("same", "checkout", "pause", "ada", "lunch", timeline.at, accepted=True)
    timeline.append(pause)
    timeline.ask("resume")
    timeline.append(pause)
    assert actions(timeline) == ["set_exposure", "pause", "set_exposure"]
    assert timeline.it.lifecycle == Lifecycle.RUNNING


def test_a_spec_that_is_refused_registers_nothing() -> None:
    timeline = Timeline()
    bad = Request("r", "checkout", "register", "ada", "", timeline.at, "spec: [", accepted=True)
    assert timeline.append(bad) == []
    assert timeline.state.experiments == {}


def test_a_bad_spec_for_a_stopped_experiment_is_refused_with_line_and_field() -> None:
    timeline = Timeline().started()
    timeline.ask("stop")
    text = spec("guardrails: [{metric: latncy_ms, direction: lower, margin: {relative: 0.1}}]")
    timeline.append(Request("r", "checkout", "register", "ada", "", timeline.at, text, accepted=True))
    handled = timeline.said(RequestHandled)[-1]
    assert not handled.accepted
    assert "line 15, spec.guardrails[0].metric: unknown metric 'latncy_ms'" in handled.reason
    assert timeline.it.spec == timeline.spec_text


# ---- time ----------------------------------------------------------------------------------------


def test_ledger_time_never_goes_backwards() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    timeline.seconds(2)
    now = timeline.state.clock
    timeline.at -= 3_600_000_000
    timeline.status()
    assert timeline.state.clock == now
    timeline.seconds(2)
    assert timeline.state.clock == now + 2 * SLOW_TICK


def test_a_broker_whose_clock_was_set_back_catches_up_with_ledger_time() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    timeline.seconds(2)
    timeline.at -= 60_000_000
    behind = []
    for _ in range(130):
        timeline.seconds(1)
        behind.append(timeline.state.clock - timeline.at)
    assert behind == sorted(behind, reverse=True)
    assert (behind[0] > 0, behind[-1]) == (True, 0)


def test_what_waits_for_a_second_to_pass_is_judged_though_the_clock_was_set_back() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    steady(timeline)
    timeline.at -= 3_600_000_000
    chatter(timeline)
    [paused] = [one for one in timeline.commands if one.action == "pause"]
    assert paused.evidence.rule == "drift"


# ---- exposures after a stop ----------------------------------------------------------------------


def test_exposures_after_a_stop_are_told_apart_by_when_the_request_began() -> None:
    timeline = Timeline().started()
    some = traces(30, seed=4)
    timeline.traces(tripping())
    stop, treated = timeline.commands[-1], some.variant == 1
    timeline.seconds(1)
    start = np.where(np.arange(30) < 20, stop.decided_at, stop.decided_at + 700_000)
    timeline.traces(some, start=start.astype("<i8").tobytes())
    timeline.seconds(5)
    counted = timeline.said(ExposuresCounted)[-1]
    assert (counted.in_flight, counted.after_stop) == (treated[:20].sum(), treated[20:].sum())
    assert counted.command_id == stop.command_id
    assert counted.last_at == stop.decided_at + 700_000
    assert counted.first_harm_at == stop.decided_at


def test_a_stop_that_nothing_came_after_says_so() -> None:
    timeline = Timeline().started()
    timeline.ask("stop")
    timeline.seconds(5)
    [counted] = timeline.said(ExposuresCounted)
    assert (counted.in_flight, counted.after_stop, counted.last_at) == (0, 0, None)


def test_a_stop_that_is_not_obeyed_is_said_while_the_exposures_go_on() -> None:
    """Traffic without a pause must not hide that the variant is still served."""
    timeline = Timeline().started()
    timeline.ask("stop")
    timeline.seconds(1)
    for seed in range(20):
        timeline.traces(traces(20, seed=seed))
        timeline.seconds(1)
    said = [counted.after_stop for counted in timeline.said(ExposuresCounted)]
    assert 3 <= len(said) <= 8
    assert said == sorted(said)
    assert said[-1] > 50


def test_rows_after_a_stop_are_not_judged() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    timeline.ask("stop")
    for seed in range(5):
        timeline.traces(traces(1_000, seed=seed, error_rate=(0.0, 0.9)))
        timeline.seconds(1)
    assert timeline.said(Finding) == []


# ---- chains and independence ---------------------------------------------------------------------


def test_the_chain_holds_and_any_change_of_an_entry_breaks_it() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    timeline.traces(tripping())
    values = timeline.journal
    assert len(values) >= 6
    assert chain_holds(values)
    for number in range(len(values) - 1):
        entry = journal.decode(values[number])
        changed = journal.encode(replace(entry, at=entry.at + 1))
        assert not chain_holds([*values[:number], changed, *values[number + 1 :]])
        assert not chain_holds([*values[:number], *values[number + 1 :]])


def test_two_experiments_of_one_partition_do_not_touch_each_other() -> None:
    """The journal of each is the one it has alone, but for its own chain of ids."""
    alone = Timeline(spec(EVERY_RULE)).started()
    both = Timeline(spec(EVERY_RULE)).started()
    other = Timeline(spec(EVERY_RULE).replace("checkout", "search"), state=both.state)
    other.entries = both.entries
    other.started()
    for timeline in (alone, both):
        timeline.seconds(1)
        timeline.traces(traces(4_000, seed=7, users=4_000, error_rate=(0.02, 0.5)))
    assert actions(alone) == actions(both)
    assert [f.sentence for f in alone.findings] == [f.sentence for f in both.findings]
    assert other.it.lifecycle == Lifecycle.RUNNING


def test_memory_of_values_is_bounded_however_many_there_are() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    for seed in range(4):
        some = traces(2_000, seed=seed)
        some.segments = {"tenant": [f"tenant-{seed}-{row // PATIENCE}" for row in range(2_000)]}
        timeline.traces(some)
    dimension: Dimension = timeline.it.current.dimensions["tenant"]
    assert len(dimension.cells) == 65
    assert list(dimension.cells)[-1] == "other"
    timeline.seconds(10)
    arms = [a for a in timeline.measures()[-1].arms if a.metric == "latency_ms" and a.segment is not None]
    assert sum(a.n for a in arms) == 8_000 - CAPACITY * (PATIENCE - 1)


# ---- false alarms --------------------------------------------------------------------------------


def test_sixty_experiments_without_any_harm_stop_no_more_often_than_their_budgets_allow() -> None:
    """Three guardrails at 1 %, each with as much again for its segments: 6 % of all experiments may stop."""
    text = spec("""
        segments: [tenant]
        guardrails:
          - {metric: error_rate, direction: lower, margin: {relative: 0.0}, alpha: 0.01, action: rollback}
          - {metric: latency_ms, direction: lower, margin: {relative: 0.0}, transform: log, alpha: 0.01, action: pause}
          - {metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance, action: pause}
        health: {sampleRatio: off}""")
    runs, stopped = 60, 0
    for run in range(runs):
        timeline = Timeline(text).started()
        for second in range(5):
            some = traces(1_000, seed=1_000 * run + second, users=2_500, population=run, error_rate=(0.05, 0.05))
            some.segments = {"tenant": [f"t{unit % 5}" for unit in (some.unit >> np.uint64(50)).tolist()]}
            timeline.traces(some, block_rows=250)
            timeline.seconds(1)
        stopped += len(timeline.commands) > 1
    assert stopped <= binom.ppf(0.999, runs, 0.06)
