"""X3: one request stops the line: everything that runs is paused, and nothing begins until the stop is lifted."""

from __future__ import annotations

import pytest

from stoploss import ledger, snapshot
from stoploss.archive.writing import is_needed
from stoploss.journal import RequestHandled
from stoploss.ledger import Request
from stoploss.lifecycle import FREEZE, UNFREEZE
from stoploss.monitor import step
from stoploss.state import PartitionState
from streams.registrar import opinion
from tests.timelines import SECRET, SPEC, Timeline, actions, bytes_of, refolded, stored

STOPPED = (
    "the line is stopped since 2026-09-21 14:13 UTC by carol: the provider is down; a steward lifts it with "
    "`stoploss unfreeze`"
)


def told(line: Timeline, action: str, offset: int, reason: str = "the provider is down") -> None:
    """As the registrar tells it to a partition; offset: the place on the topic of requests."""
    source = f"uuid/0/{offset}"
    line.append(Request(f"f{offset}", "", action, "carol", reason, line.at, partition=0, accepted=True, source=source))


def two_running() -> Timeline:
    line = Timeline().started()
    basket = SPEC.replace("name: checkout", "name: basket")
    for number, action in enumerate(("register", "start")):
        spec = basket if action == "register" else None
        line.append(Request(f"b{number}", "basket", action, "ada", "", line.at, spec, partition=0, accepted=True))
    return line


def states(line: Timeline) -> dict[str, tuple[str, float]]:
    found = line.state.experiments.values()
    return {one.name: (one.lifecycle.value, one.desired.exposure) for one in found}


def refused(line: Timeline, action: str) -> str | None:
    line.ask(action)
    last = line.said(RequestHandled)[-1]
    return None if last.accepted else last.reason


def test_everything_that_runs_is_paused_at_once_with_one_id() -> None:
    """X3"""
    line = two_running()
    told(line, FREEZE, 5)
    assert states(line) == {"checkout": ("paused", 0.0), "basket": ("paused", 0.0)}
    assert actions(line)[-2:] == ["pause", "pause"]
    said = [one for one in line.said(RequestHandled) if one.action == FREEZE]
    assert [(one.request_id, one.by, one.accepted) for one in said] == [("f5", "carol", True)] * 2
    assert line.commands[-1].reason == "pause 'basket': carol has stopped the line: the provider is down"


@pytest.mark.parametrize("action", ["start", "resume"])
def test_nothing_begins_while_the_line_is_stopped(action: str) -> None:
    """X3"""
    line = Timeline()
    line.ask("register")
    if action == "resume":
        line.ask("start")
    told(line, FREEZE, 5)
    assert refused(line, action) == STOPPED
    assert refused(line, "note") == "a note needs words; give them with --reason"


def test_the_share_of_the_treatment_is_not_raised_by_somebody_who_asked_before_the_stop_was_known() -> None:
    """X3: an experiment that the registry does not show yet is held back too, since its judge knows the stop."""
    line = Timeline()
    told(line, FREEZE, 5)
    line.ask("register")
    assert refused(line, "start") == STOPPED


def test_the_lift_starts_nothing_and_lets_people_resume() -> None:
    """X3"""
    line = two_running()
    told(line, FREEZE, 5)
    told(line, UNFREEZE, 6, "it is back")
    assert {state for state, _ in states(line).values()} == {"paused"}
    assert line.said(RequestHandled)[-1].reason == "it is back; it stays as it is until somebody resumes it"
    assert refused(line, "resume") is None
    assert states(line)["checkout"] == ("running", 0.5)


def test_requests_that_are_told_again_after_a_crash_stop_nothing_anew() -> None:
    """X3: the registrar reads both again, and an experiment that was resumed in between runs on."""
    line = two_running()
    told(line, FREEZE, 5)
    told(line, UNFREEZE, 6)
    line.ask("resume")
    said = len(line.journal)
    told(line, FREEZE, 5)
    told(line, UNFREEZE, 6)
    assert len(line.journal) == said
    assert states(line)["checkout"][0] == "running"


def test_a_refused_stop_stops_nothing() -> None:
    line = two_running()
    line.append(Request("f", "", FREEZE, "ada", "", line.at, partition=0, accepted=False, source="uuid/0/5"))
    assert {state for state, _ in states(line).values()} == {"running"}


def test_a_judge_that_is_restored_at_any_entry_knows_the_stop() -> None:
    line = two_running()
    told(line, FREEZE, 5)
    refused(line, "resume")
    told(line, UNFREEZE, 6)
    refused(line, "resume")
    assert bytes_of(refolded(line.entries)) == bytes_of(line.outputs)
    for cut in range(len(line.entries)):
        state = PartitionState(0)
        for entry in line.entries[:cut]:
            step(state, entry)
        again = snapshot.load(PartitionState, stored(state), SECRET)
        rest = [bytes_of(step(state, entry)) for entry in line.entries[cut:]]
        assert [bytes_of(step(again, entry)) for entry in line.entries[cut:]] == rest
    assert all(is_needed(ledger.encode(e.fact), "checkout") for e in line.entries if e.fact.experiment == "")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("experiment", "reason", "why"),
    [
        ("checkout", "because", "freeze is of all experiments, and this one names 'checkout'"),
        ("", " ", "freeze needs a reason; give one with --reason"),
        ("", "because", ""),
    ],
)
def test_a_stop_of_the_line_has_a_reason_and_names_nobody(experiment: str, reason: str, why: str) -> None:
    found = opinion(Request("f", experiment, FREEZE, "carol", reason, 0))
    assert (found.accepted, found.opinion) == (not why, why)
