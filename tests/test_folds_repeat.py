"""Replay: the same ledger gives the same journal, measures and commands, to the byte, wherever it is folded."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from stoploss import decisions, journal, monitor, snapshot
from stoploss.journal import Finding
from stoploss.outputs import JournalOutput, Outputs
from stoploss.rules import AnyRule
from stoploss.rules.rows import Asked, Moment
from stoploss.rules.verdict import Verdict
from stoploss.state import ExperimentState, PartitionState
from tests.refold import digest, read_entries, write_entries
from tests.timelines import (
    EVERY_RULE,
    SECRET,
    SPEC,
    Timeline,
    bytes_of,
    chain_holds,
    merged,
    refolded,
    spec,
    stored,
    traces,
    with_gate,
)

CONTROLLED = SPEC.replace("control: current}", "control: current, controllers: [flagd]}")


@cache
def eventful() -> Timeline:
    """A long story: acks, segments, a tenant stopped, drift, a pause, a resume, a gate, exposures after the stop."""
    timeline = Timeline(spec(EVERY_RULE, CONTROLLED)).started()
    for second in range(12):
        timeline.seconds(1)
        harmed = traces(
            120, seed=80 + second, users=3_000, population=1, error_rate=(0.02, 0.7), cost_usd=1e-5, tenant="acme"
        )
        clean = traces(1_500, seed=40 + second, users=20_000, cost_usd=1e-5, tenant="zeta", language="de")
        timeline.traces(merged(clean, harmed), block_rows=400)
        if timeline.it.desired.awaiting:
            timeline.ack("flagd")
    for second in range(6):
        timeline.seconds(1)
        timeline.traces(traces(1_500, seed=200 + second, users=20_000, tokens=(225, 400), cost_usd=1e-5, tenant="zeta"))
    timeline.ask("resume", exposure=0.2)
    timeline.ack("flagd")
    some = traces(400, seed=300)
    timeline.seconds(1)
    timeline.traces(with_gate(some, int((some.variant == 1).argmax()), 0))
    for seed in range(4):
        timeline.seconds(1)
        timeline.traces(traces(50, seed=400 + seed))
    timeline.seconds(4)
    return timeline


def test_the_story_has_something_to_tell() -> None:
    rules = {finding.evidence.rule for finding in eventful().breaches}
    assert {"gate", "guardrail"} <= rules
    assert len(eventful().commands) >= 4
    assert len(eventful().measures()) >= 3


def test_rules_that_are_asked_for_news_alone_say_what_they_say_when_they_are_asked_for_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a hundred segments and twenty rules nearly all are passed over at each entry: nothing may be missed by it."""
    asked: list[Asked] = []

    def judged(state: ExperimentState, moment: Moment, out: Outputs) -> list[tuple[AnyRule, Verdict]]:
        asked.append(moment.asked)
        return decisions.judge(state, replace(moment, asked=Asked.ALL), out)

    monkeypatch.setattr(monitor, "judge", judged)
    outputs = refolded(eventful().entries, PartitionState(0))
    assert {Asked.NEWS, Asked.TICK, Asked.ALL} == set(asked)
    assert bytes_of(outputs) == bytes_of(eventful().outputs)


def test_a_second_fold_gives_the_same_bytes_and_the_same_state() -> None:
    state = PartitionState(0)
    assert bytes_of(refolded(eventful().entries, state)) == bytes_of(eventful().outputs)
    assert stored(state) == stored(eventful().state)


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_fold_that_is_saved_and_restored_on_its_way_gives_the_same_bytes(tenths: int) -> None:
    entries = eventful().entries
    at = len(entries) * tenths // 10
    state = PartitionState(0)
    outputs = refolded(entries[:at], state)
    outputs += refolded(entries[at:], snapshot.load(PartitionState, stored(state), SECRET))
    assert bytes_of(outputs) == bytes_of(eventful().outputs)


def test_entries_come_back_from_the_wire_and_give_the_same_bytes(tmp_path: Path) -> None:
    write_entries(tmp_path / "ledger", eventful().entries)
    assert list(read_entries(tmp_path / "ledger")) == eventful().entries
    assert digest(read_entries(tmp_path / "ledger")) == digest(eventful().entries)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "0"},
        {"PYTHONHASHSEED": "4242"},
        {"PYTHONHASHSEED": "1", "NPY_DISABLE_CPU_FEATURES": "AVX2 AVX512F FMA3", "OMP_NUM_THREADS": "1"},
    ],
    ids=["seed 0", "seed 4242", "another processor"],
)
def test_another_process_seed_and_processor_give_the_same_bytes(tmp_path: Path, environment: dict[str, str]) -> None:
    write_entries(tmp_path / "ledger", eventful().entries)
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.refold", str(tmp_path / "ledger")],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == digest(eventful().entries)


def test_a_ledger_that_differs_in_one_row_gives_another_journal(tmp_path: Path) -> None:
    """So that the tests above can fail."""
    entries = [entry for entry in eventful().entries if entry.offset != 20]
    assert bytes_of(refolded(entries)) != bytes_of(eventful().outputs)


def test_the_chain_of_the_story_holds_and_its_numbers_count() -> None:
    timeline = eventful()
    assert chain_holds(timeline.journal)
    entries = [journal.decode(value) for value in timeline.journal]
    assert [entry.number for entry in entries] == list(range(len(entries)))
    assert all((a.ledger_offset, a.ordinal) < (b.ledger_offset, b.ordinal) for a, b in pairwise(entries))
    assert timeline.it.chain == journal.hash_of(timeline.journal[-1])


def test_numbers_in_the_journal_have_nine_significant_digits_at_most() -> None:
    """What lies behind them may differ in its last bit between machines."""
    findings = [o.entry.conclusion for o in eventful().outputs if isinstance(o, JournalOutput)]
    numbers = [
        value
        for finding in findings
        if isinstance(finding, Finding)
        for value in (getattr(finding.evidence, name) for name in finding.evidence.__slots__)
        if isinstance(value, float)
    ]
    assert len(numbers) >= 10
    assert [value for value in numbers if float(f"{value:.9g}") != value] == []
