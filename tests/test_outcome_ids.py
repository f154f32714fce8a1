"""An outcome that was sent twice counts once, however it came: with its context, or bare and looked up."""

from __future__ import annotations

import doctest
from dataclasses import replace

import numpy as np

from stoploss import outcome_ids as module
from stoploss.ledger import EvidenceBlock, Source
from stoploss.outcome_ids import outcome_ids
from tests.timelines import Timeline, Traces, spec, traces

RESOLVED = Source("stoploss.outcomes_resolved", "uuid-of-resolved", 0)


def scores(n: int, seed: int) -> Traces:
    some = traces(n, seed=seed)
    values = np.random.default_rng(seed).integers(0, 1_000_000, n)
    return replace(some, metrics={"helpfulness": values})


def again(block: EvidenceBlock, first_offset: int, source: Source = RESOLVED) -> EvidenceBlock:
    """The same outcomes as other records: other offsets, or another topic."""
    offsets = np.arange(first_offset, first_offset + block.rows, dtype="<i8")
    return replace(block, offset=offsets.tobytes(), sources=(source,))


def test_what_says_the_same_again_counts_once_under_whatever_source_and_offset_it_comes() -> None:
    timeline = Timeline(spec()).started()
    [block] = timeline.blocks(scores(100, 1), outcomes=True)
    timeline.append(block)
    timeline.append(again(block, 0))
    timeline.append(again(block, 5_000, timeline.source))
    assert timeline.it.refused == {"outcome sent before": 200}


def test_the_same_value_at_another_time_counts_again() -> None:
    """An item of a reference set is graded anew, and the judge may well agree with itself."""
    timeline = Timeline(spec()).started()
    [block] = timeline.blocks(scores(100, 1), outcomes=True)
    timeline.append(block)
    later = np.frombuffer(block.at, "<i8") + 1
    timeline.append(replace(again(block, 0), at=later.tobytes()))
    assert timeline.it.refused == {}


def test_a_trace_and_its_outcome_are_not_taken_for_each_other() -> None:
    timeline = Timeline(spec()).started()
    [block] = timeline.blocks(scores(100, 1))
    timeline.append(block)
    timeline.append(replace(again(block, 0), outcomes=True))
    assert timeline.it.refused == {}


def test_how_outcomes_are_cut_into_blocks_changes_nothing() -> None:
    refused = []
    for block_rows in (7, 100):
        timeline = Timeline(spec()).started()
        blocks = list(timeline.blocks(scores(100, 1), block_rows, outcomes=True))
        for block in (*blocks, *(again(block, 100 * n) for n, block in enumerate(blocks))):
            timeline.append(block)
        refused.append(timeline.it.refused)
    assert refused == [{"outcome sent before": 100}] * 2


def test_the_order_of_the_columns_is_nothing_that_an_outcome_says() -> None:
    trace, at = np.array([1, 2], np.uint64), np.array([3, 4])
    one, other = np.array([5, 6]), np.array([7, 8])
    ids = outcome_ids(trace, at, {"a": one, "b": other})
    assert ids.tolist() == outcome_ids(trace, at, {"b": other, "a": one}).tolist()
    assert ids.tolist() != outcome_ids(trace, at, {"a": other, "b": one}).tolist()


def test_its_doctest() -> None:
    assert doctest.testmod(module, extraglobs={"np": np}).failed == 0
