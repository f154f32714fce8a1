"""What people plot: when it is measured, and that it is what stands in the rows."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from stoploss.ledger import Entry
from stoploss.lifecycle import Lifecycle
from stoploss.outputs import MeasureOutput
from stoploss.segments import PATIENCE
from stoploss.state import PartitionState
from tests.timelines import EVERY_RULE, SPEC, Timeline, spec, traces, tripping, with_gate


def test_measures_come_every_ten_seconds_though_other_entries_move_the_clock_too() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    timeline.seconds(1)
    for seed in range(60):
        timeline.traces(traces(20, seed=seed))
        timeline.seconds(1)
    first, *due = [measure.at // 1_000_000 for measure in timeline.measures()]
    assert first < due[0] <= first + 10
    assert due == list(range(due[0], due[0] + 10 * len(due), 10))
    assert len(due) == 6


def test_measures_of_many_experiments_do_not_come_at_one_tick() -> None:
    state, entries = PartitionState(0), list[Entry]()
    timelines = [Timeline(SPEC.replace("name: checkout,", f"name: checkout-{n},"), state) for n in range(40)]
    for timeline in timelines:
        timeline.entries = entries  # of one ledger
        timeline.started()
    measured = [[out.experiment for out in timeline.seconds(1) if isinstance(out, MeasureOutput)] for _ in range(21)]
    everybody = {timeline.experiment.name for timeline in timelines}
    for ten in (measured[1:11], measured[11:]):
        assert sorted(chain(*ten)) == sorted(everybody)
    assert max(map(len, measured[1:])) < 10


def test_a_breach_is_measured_at_the_next_tick_so_that_no_command_waits_for_plots() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    timeline.tick()
    before = len(timeline.measures())
    timeline.traces(tripping())
    assert (len(timeline.measures()), timeline.it.lifecycle) == (before, Lifecycle.STOPPED)
    timeline.seconds(1)
    assert len(timeline.measures()) == before + 1
    assert ("gate", "breach") in [(v.rule, v.verdict) for v in timeline.measures()[-1].verdicts]
    timeline.seconds(9)
    assert len(timeline.measures()) == before + 1


def test_the_measure_of_a_breach_shows_every_rule_and_segment_though_a_gate_had_stopped_the_run() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    timeline.traces(traces(2_000, seed=5, tenant="acme"))
    timeline.seconds(11)
    shown_at_ticks = [(v.rule, v.metric, str(v.segment)) for v in timeline.measures()[-1].verdicts]
    timeline.traces(tripping())
    timeline.seconds(1)
    spoken = [(v.rule, v.metric, str(v.segment)) for v in timeline.measures()[-1].verdicts]
    assert ("guardrail[0]", "error_rate", "tenant=acme") in spoken
    assert ("objective", "recommendation", "None") in spoken
    assert sorted(spoken) == sorted(shown_at_ticks)


def test_a_breach_that_ends_nothing_is_measured_too() -> None:
    """A control arm that leaks holds the run; the next tick is no tenth second."""
    timeline = Timeline().started()
    timeline.seconds(2)
    some = traces(40, seed=1)
    before = len(timeline.measures())
    timeline.traces(with_gate(some, int((some.variant == 0).argmax()), 0))
    timeline.seconds(1)
    assert (len(timeline.measures()), timeline.it.lifecycle) == (before + 1, Lifecycle.HOLDING)


def test_measures_show_what_numpy_finds_in_the_same_rows() -> None:
    timeline = Timeline(spec(EVERY_RULE)).started()
    some = traces(2_000, seed=5, tenant="acme")
    timeline.traces(some)
    timeline.seconds(10)
    arms = [a for a in timeline.measures()[-1].arms if a.metric == "latency_ms" and a.variant == "small"]
    assert [str(a.segment) for a in arms] == ["None", "tenant=acme"]
    for arm, first in zip(arms, (0, PATIENCE - 1), strict=True):
        latency_ms = some.metrics["latency_ms"][first:][some.variant[first:] == 1] / 1_000
        assert arm.n == latency_ms.size
        assert arm.mean == pytest.approx(latency_ms.mean(), rel=1e-8)
        assert arm.standard_deviation == pytest.approx(latency_ms.std(ddof=1), rel=1e-8)
        assert arm.p95 == pytest.approx(np.quantile(latency_ms, 0.95), rel=1 / 8)
