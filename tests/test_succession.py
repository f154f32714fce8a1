"""Behind a gap in the ledger: what was published is newer than what a snapshot has, and stands."""

from __future__ import annotations

from dataclasses import replace

from stoploss import registry
from stoploss.followup import CaseSet, OpenIncident
from stoploss.governance.record import Approval
from stoploss.outputs import RegistryOutput
from stoploss.registry import RegistryEntry
from stoploss.state import Cursor, ExperimentState
from stoploss.succession import adopt
from tests.timelines import Timeline

NAME = "checkout"
CURSOR = Cursor(NAME, 0, 90, 0, 1, 4, 12, "c" * 64)


def snapshot_and_published() -> tuple[ExperimentState, RegistryEntry]:
    timeline = Timeline().started()
    entries = [output for output in timeline.outputs if isinstance(output, RegistryOutput)]
    return timeline.state.experiments[NAME], registry.decode(entries[-1].value)


def approval(granted: bool) -> Approval:
    return Approval("privacy", "grace", granted, "looked at", 5, "", None, None, None, (), ())


def test_an_approval_that_was_taken_back_after_the_snapshot_does_not_come_back() -> None:
    known, published = snapshot_and_published()
    known.governance.approvals = [approval(granted=True)]
    state, _ = adopt(known, CURSOR, replace(published, approvals=(approval(granted=False),)))
    assert [one.granted for one in state.governance.approvals] == [False]
    state, _ = adopt(known, CURSOR, replace(published, approvals=()))
    assert state.governance.approvals == []


def test_who_has_amended_after_the_snapshot_is_an_author() -> None:
    known, published = snapshot_and_published()
    state, _ = adopt(known, CURSOR, replace(published, authors=(*published.authors, "grace")))
    assert state.governance.authors == [*published.authors, "grace"]


def test_an_incident_that_is_open_keeps_its_remedies_and_one_that_was_closed_is_gone() -> None:
    known, published = snapshot_and_published()
    known.incidents = [OpenIncident("stop-1", ["tell the tenant"]), OpenIncident("stop-2", ["call them"])]
    state, _ = adopt(known, CURSOR, replace(published, open_incidents=("stop-1", "stop-3")))
    assert state.incidents == [OpenIncident("stop-1", ["tell the tenant"]), OpenIncident("stop-3")]


def test_what_the_registry_has_not_is_kept_from_the_snapshot() -> None:
    known, published = snapshot_and_published()
    known.case_sets.append(CaseSet("refunds"))
    known.watermarks["traces"] = 17
    state, _ = adopt(known, CURSOR, published)
    assert (state.case_sets, state.watermarks) == ([CaseSet("refunds")], {"traces": 17})


def test_without_a_snapshot_all_that_was_published_is_there_and_the_journal_goes_on() -> None:
    _, published = snapshot_and_published()
    state, pause = adopt(None, CURSOR, replace(published, open_incidents=("stop-1",)))
    assert (state.number, state.chain, state.lifecycle) == (CURSOR.number, CURSOR.chain, "running")
    assert (state.governance.authors, state.incidents) == (list(published.authors), [OpenIncident("stop-1")])
    assert pause is not None
    assert (pause.action, pause.experiment) == ("pause", NAME)
