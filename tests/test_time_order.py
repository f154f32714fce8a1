"""What stops is judged before any timer, approval or minimum of samples: the same ledger, judged under two specs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stoploss.journal import CommandIssued, Finding, LifecycleChanged
from stoploss.outputs import JournalOutput
from tests.timelines import EVERY_RULE, SPEC, Timeline, Traces, merged, of_arm, spec, traces, with_gate

# Everything in a spec that makes somebody wait, as long as it goes.
PATIENT = SPEC.replace(
    "ramp: {stages: [0.5]}",
    "ramp: {stages: [0.5], minDuration: 365d, minUnits: 1000000000}\n"
    "  approvals: {required: 9, from: [product, privacy]}\n"
    '  windows: [{days: Mon, from: "14:13", to: "14:14"}]',
)
WAITING = EVERY_RULE.replace("closesAfter: 8s", "closesAfter: 30d")


def steady(timeline: Timeline, seconds: int = 3) -> None:
    for number in range(seconds):
        timeline.seconds(1)
        timeline.traces(traces(600, seed=number, users=400, tenant="acme"))


def gate(timeline: Timeline) -> None:
    some = traces(40, seed=7)
    timeline.traces(with_gate(some, int(np.flatnonzero(some.variant)[0]), bit=0))


def errors(timeline: Timeline) -> None:
    timeline.traces(traces(4_000, seed=7, users=3_000, error_rate=(0.02, 0.4), tenant="acme"))


def slowness(timeline: Timeline) -> None:
    timeline.traces(traces(6_000, seed=7, users=3_000, latency_ms=(500.0, 1_500.0), tenant="acme"))


def one_tenant(timeline: Timeline) -> None:
    for seed in range(2):
        hurt = traces(3_000, seed=seed, users=2_000, error_rate=(0.05, 0.5), tenant="zeta")
        well = traces(30_000, seed=9 + seed, users=9_000, population=1, error_rate=(0.3, 0.1), tenant="acme")
        timeline.traces(merged(hurt, well), block_rows=8_000)
        timeline.seconds(1)


def spending(timeline: Timeline) -> None:
    timeline.traces(traces(4_000, seed=7, users=3_000, cost_usd=40.0))


def chatter(timeline: Timeline) -> None:
    for seed in range(24):
        tokens = (225, 225) if seed < 16 else (225, 325)
        timeline.traces(traces(600, seed=100 + seed, users=50_000, tokens=tokens, cost_usd=1e-4))
        timeline.seconds(1)


def silence(timeline: Timeline) -> None:
    for seed in range(130):
        timeline.traces(of_arm(traces(40, seed=seed), 0))
        timeline.seconds(1)


def lopsided(timeline: Timeline) -> None:
    for seed in range(4):
        timeline.traces(traces(4_000, seed=seed, users=4_000, population=seed, share=0.3))
        timeline.seconds(30)


HARMS: dict[str, Callable[[Timeline], None]] = {
    harm.__name__: harm for harm in (gate, errors, slowness, one_tenant, spending, chatter, silence, lopsided)
}
SPOKE = {
    "gate": "gate",
    "errors": "guardrail",
    "slowness": "guardrail",
    "one_tenant": "guardrail",
    "spending": "budget",
}
SPOKE |= {"chatter": "drift", "silence": "silence", "lopsided": "sample_ratio"}


def told(text: str, harm: Callable[[Timeline], None]) -> list[tuple[int, str, str, str]]:
    """When each rule but the objective said what, and what was done."""
    timeline = Timeline(text).started()
    steady(timeline)
    harm(timeline)
    timeline.seconds(1)
    found = []
    for output in timeline.outputs:
        if not isinstance(output, JournalOutput):
            continue
        match output.entry.conclusion:
            case Finding(evidence=evidence) as finding if evidence.rule != "objective":
                found.append((output.entry.ledger_offset, evidence.rule, finding.verdict, finding.sentence))
            case CommandIssued() as issued:
                found.append((output.entry.ledger_offset, "command", issued.action, issued.reason))
            case LifecycleChanged() as changed:
                found.append((output.entry.ledger_offset, "lifecycle", changed.after, changed.reason))
    return found


@pytest.mark.parametrize("name", HARMS)
def test_no_floor_timer_window_or_approval_of_the_spec_delays_what_stops(name: str) -> None:
    """D5: for the same ledger every rule but the objective says the same, at the same entry, and the same is done."""
    at_once, patient = told(spec(EVERY_RULE), HARMS[name]), told(spec(WAITING, PATIENT), HARMS[name])
    assert patient == at_once
    assert any(rule == SPOKE[name] and verdict == "breach" for _, rule, verdict, _ in patient)


def test_a_gate_stops_in_the_entry_of_its_event_before_anything_is_scored() -> None:
    """D5: the first event, in the first entry of the run, with every floor still far away."""
    timeline = Timeline(spec(WAITING, PATIENT)).started()
    some: Traces = traces(40, seed=7)
    out = timeline.traces(with_gate(some, int(np.flatnonzero(some.variant)[0]), bit=0))
    first = next(o.entry.conclusion for o in out if isinstance(o, JournalOutput))
    assert isinstance(first, Finding)
    assert (first.evidence.rule, timeline.commands[-1].action) == ("gate", "stop")
