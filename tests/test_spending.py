"""R5: the judge says in the journal what the treatment has cost, at a bounded rate, and only where a budget asks."""

from __future__ import annotations

import numpy as np
import pytest

from stoploss import snapshot
from stoploss.journal import JournalEntry, Spend, decode
from stoploss.ledger import Request
from stoploss.lifecycle import POLICY
from stoploss.monitor import step
from stoploss.outputs import JournalOutput
from stoploss.state import PartitionState
from tests.governance.institution import POLICY_TEXT
from tests.timelines import SECRET, Timeline, Traces, bytes_of, refolded, stored, traces

BUDGET = "{perTeam: {limit: 1000, period: 24h}}"
USD = 1_000_000_000


def under(budgets: str | None) -> Timeline:
    """A started experiment of the search team; its policy asks for nothing else."""
    timeline = Timeline().started()
    text = POLICY_TEXT + (f"  budgets: {budgets}\n" if budgets else "")
    source = "uuid/0/1"
    timeline.append(Request("p", "", POLICY, "carol", "", 0, text, partition=0, accepted=True, source=source))
    return timeline


def costing(usd: float, n: int = 10) -> Traces:
    """Traces of which those of the treatment cost so much, all together."""
    some = traces(n, seed=1)
    treated = int((some.variant == 1).sum())
    some.metrics["cost_usd"] = np.where(some.variant == 1, round(usd * USD / treated), 77 * USD).astype(np.int64)
    return some


def said(timeline: Timeline) -> list[float]:
    return [round(one.nano_usd / USD, 6) for one in timeline.said(Spend)]


def test_the_cost_of_the_treatment_is_said_at_the_next_tick() -> None:
    """R5: what control costs is not the experiment's."""
    timeline = under(BUDGET)
    timeline.traces(costing(3))
    timeline.seconds(1)
    assert said(timeline) == [3.0]


@pytest.mark.parametrize("budgets", [None, "{teams: {other-team: {limit: 1, period: 24h}}}"])
def test_without_a_budget_that_it_draws_on_nothing_is_said(budgets: str | None) -> None:
    timeline = under(budgets)
    timeline.traces(costing(3))
    timeline.seconds(2)
    assert said(timeline) == []


def test_much_is_said_each_minute_and_little_each_ten() -> None:
    """R5: the journal grows with the budget that is spent, not with the traffic."""
    much, little = under(BUDGET), under(BUDGET)
    for timeline, usd in ((much, 1.0), (little, 0.02)):
        for _ in range(41):
            timeline.traces(costing(usd))
            timeline.at += 29_000_000
            timeline.seconds(1)
    assert len(said(much)) == 21
    assert len(said(little)) == 3
    assert sum(said(much)) == pytest.approx(41)
    assert [one.since for one in little.said(Spend)][1:] == [entry.entry.at for entry in spent_entries(little)[:-1]]


def spent_entries(timeline: Timeline) -> list[JournalOutput]:
    found = [output for output in timeline.outputs if isinstance(output, JournalOutput)]
    return [output for output in found if isinstance(output.entry.conclusion, Spend)]


def test_what_is_served_after_a_stop_was_spent_too() -> None:
    timeline = under(BUDGET)
    timeline.ask("stop")
    timeline.traces(costing(2))
    timeline.seconds(1)
    assert said(timeline) == [2.0]


def test_costs_stand_in_the_chain_of_the_journal_and_come_back_as_they_were() -> None:
    timeline = under(BUDGET)
    timeline.traces(costing(3))
    timeline.seconds(1)
    timeline.ask("stop")
    entries: list[JournalEntry] = [decode(value) for value in timeline.journal]
    assert entries == [output.entry for output in timeline.outputs if isinstance(output, JournalOutput)]
    assert [entry.number for entry in entries] == list(range(len(entries)))
    assert timeline.it.number == len(entries)


def test_a_judge_that_is_restored_says_the_same() -> None:
    timeline = under(BUDGET)
    for usd in (1, 2, 4):
        timeline.traces(costing(usd), block_rows=4)
        timeline.seconds(61)
    assert bytes_of(refolded(timeline.entries)) == bytes_of(timeline.outputs)
    for cut in (2, 5, len(timeline.entries) // 2):
        state = PartitionState(0)
        for entry in timeline.entries[:cut]:
            step(state, entry)
        again = snapshot.load(PartitionState, stored(state), SECRET)
        rest = [bytes_of(step(state, entry)) for entry in timeline.entries[cut:]]
        assert [bytes_of(step(again, entry)) for entry in timeline.entries[cut:]] == rest
