"""A canary proves a source partition by being heard, and is nobody's experiment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoploss.canary import canary_of
from stoploss.errors import InvalidExperiment, MalformedRecord
from stoploss.journal import MonitorBlind
from stoploss.ledger import EvidenceBlock, Source
from stoploss.lifecycle import Lifecycle
from stoploss.sight import CANARY_TICKS
from stoploss.spec.file import parse_experiment
from tests.test_blind import begun, canary, causes
from tests.timelines import SOURCE, SPEC, traces

# ---- heard, and missed -----------------------------------------------------------------------------


def test_a_canary_that_was_heard_and_is_heard_no_more_is_missed_by_the_source_it_sang_in() -> None:
    timeline = begun()
    canary(timeline)
    timeline.seconds(CANARY_TICKS)
    assert causes(timeline) == []
    timeline.seconds(1)
    [said] = timeline.said(MonitorBlind)
    assert said.reason == "the canary of stoploss.traces/0 has not been heard for 31 seconds (limit 30)"
    canary(timeline)
    timeline.seconds(1)
    assert causes(timeline)[-1] == ("canary_absent", True)


def test_a_canary_that_is_only_repeated_is_not_heard() -> None:
    timeline = begun()
    [block] = timeline.blocks(traces(1, seed=1), experiment=canary_of(0))
    for _ in range(CANARY_TICKS + 2):
        timeline.append(block)
        timeline.seconds(1)
    assert causes(timeline) == [("canary_absent", False)]


def test_a_source_partition_whose_canary_never_came_while_others_do_is_missed() -> None:
    timeline = begun()
    for _ in range(CANARY_TICKS + 2):
        canary(timeline)
        timeline.status(source=Source(SOURCE.topic, SOURCE.topic_uuid, 1))
        timeline.seconds(1)
    [said] = timeline.said(MonitorBlind)
    assert "the canary of stoploss.traces/1 has not been heard" in said.reason


def test_without_any_canary_ever_none_is_missed() -> None:
    timeline = begun()
    timeline.seconds(10 * CANARY_TICKS)
    assert causes(timeline) == []


def test_a_new_run_misses_the_canary_that_the_ledger_has_heard_before() -> None:
    timeline = begun()
    canary(timeline)
    timeline.seconds(60)
    assert timeline.it.lifecycle == Lifecycle.PAUSED
    timeline.ask("resume")
    timeline.seconds(CANARY_TICKS + 1)
    assert timeline.said(MonitorBlind)[-1].reason == (
        "the canary of stoploss.traces/0 has not been heard for 31 seconds (limit 30)"
    )


def test_the_canary_of_another_ledger_partition_is_none() -> None:
    timeline = begun()
    [block] = timeline.blocks(traces(1, seed=1), experiment=canary_of(1))
    assert timeline.append(block) == []
    assert timeline.state.canaries == {}


# ---- a canary is nobody's experiment ---------------------------------------------------------------


def test_a_canary_leaves_no_trace_in_journal_or_registry_and_counts_for_no_experiment() -> None:
    timeline = begun()
    before = (timeline.journal, timeline.registry())
    canary(timeline)
    assert (timeline.journal, timeline.registry()) == before
    assert set(timeline.state.experiments) == {"checkout"}
    assert timeline.it.watermarks == {}


def test_a_spec_by_the_name_of_a_canary_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidExperiment, match=r"metadata.name: names that begin with 'stoploss-canary-' are the mon"):
        parse_experiment(SPEC.replace("name: checkout,", f"name: {canary_of(0)},"))


def test_a_block_of_a_canary_that_contradicts_itself_is_refused_like_any_other() -> None:
    timeline = begun()
    [block] = timeline.blocks(traces(1, seed=1), experiment=canary_of(0))
    assert isinstance(block, EvidenceBlock)
    with pytest.raises(MalformedRecord):
        timeline.append(replace(block, rows=2))
    assert timeline.state.canaries == {}
