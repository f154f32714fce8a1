"""Which rows were evidence of harm, held against the traffic that they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from stoploss import ledger
from stoploss.incidents import evidence
from stoploss.incidents.evidence import FoundRows, harmful_rows
from stoploss.journal import Finding
from stoploss.outputs import JournalOutput
from stoploss.replay import StoredEntry
from stoploss.store.rows import TimelineEntry
from tests.review import rows
from tests.timelines import SOURCE, Timeline, Traces, spec, traces, with_gate

WATCHED = """
segments: [tenant]
guardrails:
  - {metric: error_rate, direction: lower, margin: {relative: 0.10}, action: rollback}
  - {metric: latency_ms, direction: lower, margin: {relative: 0.15}, transform: log, action: rollback}
  - {metric: latency_ms, direction: lower, margin: {relative: 9.0}, transform: exceedance, action: rollback}
"""


def breached(parts: Sequence[Traces]) -> tuple[Timeline, list[TimelineEntry]]:
    """A run over some traffic, and its breaches as the store would give them."""
    story = Timeline(spec(WATCHED)).started()
    for part in parts:
        story.traces(part)
        story.seconds(3)
    told = [output.entry for output in story.outputs if isinstance(output, JournalOutput)]
    found = [(entry, entry.conclusion) for entry in told if isinstance(entry.conclusion, Finding)]
    breaches = []
    for entry, said in found:
        if said.verdict != "breach":
            continue
        at = said.evidence.segment
        place = {"ledger_offset": entry.ledger_offset, "run": entry.run, "entry_id": entry.entry_id}
        segment = {"segment_dimension": at.dimension if at else None, "segment_value": at.value if at else None}
        breaches.append(
            rows.finding(entry.number, rule=said.evidence.rule, metric=said.evidence.metric, **place, **segment)
        )
    return story, breaches


def entries(story: Timeline) -> list[StoredEntry]:
    return [StoredEntry(0, entry.offset, entry.at, ledger.encode(entry.fact)) for entry in story.entries]


def rows_behind(story: Timeline, finding: TimelineEntry, begin: int = 0) -> FoundRows:
    return harmful_rows(finding, story.experiment, begin, entries(story))


def of(breaches: Sequence[TimelineEntry], metric: str) -> TimelineEntry:
    return next(one for one in breaches if (one.metric, one.segment_value) == (metric, None))


def joined(parts: Sequence[Traces], name: str) -> np.ndarray:
    return np.concatenate([part.metrics[name] for part in parts])


def test_of_a_rate_the_treatments_rows_that_count_against_it_are_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MOST", 10_000)
    parts = [traces(3_000, seed=seed, error_rate=(0.02, 0.30)) for seed in range(4)]
    story, breaches = breached(parts)
    found = rows_behind(story, of(breaches, "error_rate"))
    variant = np.concatenate([part.variant for part in parts])
    expected = np.flatnonzero((variant == 1) & (joined(parts, "error_rate") == 1))
    named = [row.offset for row in found.rows]
    assert named == sorted(named)
    assert set(named) == set(expected[: len(named)].tolist())
    assert found.of == len(named) > 50
    assert {(row.source, row.why) for row in found.rows} == {(SOURCE, "it counts against error_rate")}


def test_of_a_mean_the_furthest_rows_are_given_and_said_to_be_that() -> None:
    parts = [traces(2_000, seed=seed, latency_ms=(500.0, 900.0)) for seed in range(6)]
    story, breaches = breached(parts)
    finding = of(breaches, "latency_ms")
    found = rows_behind(story, finding)
    upto = sum(1 for entry in story.entries[: finding.ledger_offset + 1] if hasattr(entry.fact, "rows")) * 500
    variant = np.concatenate([part.variant for part in parts])[:upto]
    latency = joined(parts, "latency_ms:log")[:upto]
    treated = np.flatnonzero(variant == 1)
    furthest = treated[np.argsort(-latency[treated], kind="stable")][: evidence.MOST]
    assert [row.offset for row in found.rows] == furthest.tolist()
    assert found.of == treated.size
    assert found.rows[0].why.startswith("among the highest latency_ms of the treatment: ")


def test_of_a_segment_only_its_own_rows_are_evidence() -> None:
    parts = [traces(150, seed=n, error_rate=(0.02, 0.15), tenant="acme" if n % 2 else "zeta") for n in range(40)]
    story, breaches = breached(parts)
    everybody = of(breaches, "error_rate")
    found = rows_behind(story, replace(everybody, segment_dimension="tenant", segment_value="acme"))
    owner = np.concatenate([[part.segments["tenant"][0]] * part.rows for part in parts])
    assert found.rows
    assert {str(owner[row.offset]) for row in found.rows} == {"acme"}
    assert {row.segment for row in found.rows} == {"tenant=acme"}
    assert found.of < rows_behind(story, everybody).of
    assert rows_behind(story, replace(everybody, segment_dimension="tenant", segment_value="other")).of == 0


def test_a_gate_names_its_rows_with_what_was_found_in_each() -> None:
    some = traces(40, seed=3, share=1.0)
    some = with_gate(with_gate(some, 7, 0, "output_text holds an IBAN"), 9, 0, "output_text holds a card number")
    story, breaches = breached([traces(50, seed=1), some])
    found = rows_behind(story, of(breaches, "pii_exposed"))
    assert [(row.offset, row.why) for row in found.rows] == [
        (57, "it tripped pii_exposed: output_text holds an IBAN"),
        (59, "it tripped pii_exposed: output_text holds a card number"),
    ]


def test_a_gates_rows_that_were_in_flight_at_the_stop_are_harm_as_well() -> None:
    some = with_gate(traces(40, seed=3, share=1.0), 7, 0)
    story, breaches = breached([some, some])
    finding, last = of(breaches, "pii_exposed"), story.entries[-1].offset
    assert [row.offset for row in rows_behind(story, finding).rows] == [7]
    upto = harmful_rows(finding, story.experiment, 0, entries(story), end=last)
    assert [row.offset for row in upto.rows] == [7, 47]


def test_control_is_never_evidence_against_the_treatment() -> None:
    some = traces(40, seed=3, share=1.0)
    control = traces(40, seed=4, share=0.0)
    story, breaches = breached([with_gate(control, 5, 0), with_gate(some, 7, 0)])
    last = [one for one in breaches if one.metric == "pii_exposed"][-1]
    assert [row.offset for row in rows_behind(story, last).rows] == [47]


def test_rows_of_another_run_and_what_came_later_are_left_out() -> None:
    some = with_gate(traces(40, seed=3, share=1.0), 7, 0)
    story, breaches = breached([some])
    finding = of(breaches, "pii_exposed")
    assert rows_behind(story, finding).of == 1
    after = rows_behind(story, finding, begin=finding.ledger_offset + 1)
    assert (after.rows, after.none_because) == (
        (),
        "no row of the treatment in the ledger carries 'pii_exposed' of this finding",
    )
    stamped = rows.finding(1, rule="gate", metric="pii_exposed", run=2, ledger_offset=finding.ledger_offset)
    story.append(next(story.blocks(some, stamp_run=np.full(40, 1, "<i4").tobytes())))
    later = rows.finding(2, rule="gate", metric="pii_exposed", run=2, ledger_offset=len(story.entries) - 1)
    assert rows_behind(story, stamped).of == 1
    assert rows_behind(story, later, begin=len(story.entries) - 1).of == 0


@pytest.mark.parametrize("rule", ["sample_ratio", "silence", "drift", "objective"])
def test_a_rule_that_judges_no_single_trace_has_no_evidence_of_that_kind_and_says_so(rule: str) -> None:
    story = Timeline(spec(WATCHED)).started()
    found = harmful_rows(rows.finding(1, rule=rule), story.experiment, 0, entries(story))
    assert found.rows == ()
    assert found.none_because == f"rule {rule!r} does not judge single traces, so none of them is evidence of this harm"


def test_an_entry_that_nobody_can_read_is_passed_over() -> None:
    story, breaches = breached([with_gate(traces(40, seed=3, share=1.0), 7, 0)])
    broken = [StoredEntry(0, 0, 0, b"nothing"), *entries(story)[1:]]
    assert harmful_rows(of(breaches, "pii_exposed"), story.experiment, 0, broken).of == 1
