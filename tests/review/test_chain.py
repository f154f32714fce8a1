"""The chain from the journal: each link with its place, and what led to what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stoploss.review import chain
from stoploss.review.cells import Cells
from stoploss.store.rows import CommandWithAcks, TimelineEntry
from tests.review.rows import ack, asked, at, entry, finding, issued, published, served

TINY = {"segment_dimension": "tenant", "segment_value": "tiny", "n_treatment": 3}


def commands(
    timeline: Sequence[TimelineEntry], stored: Sequence[CommandWithAcks] = (), signers: Mapping[str, str] | None = None
) -> tuple[chain.CommandLine, ...]:
    return chain.commands(timeline, 1, stored, signers or {}, Cells(20))


def test_a_command_is_traced_to_the_finding_just_before_it_in_the_same_ledger_entry() -> None:
    timeline = [
        finding(1, ledger_offset=9),
        issued(2, "c-1", ledger_offset=9),
        finding(3, ledger_offset=9),
        issued(4, "c-2", ledger_offset=9),
    ]
    assert [command.cause for command in commands(timeline)] == ["entry-1", "entry-3"]


def test_a_command_of_a_person_is_traced_to_the_request() -> None:
    timeline = [finding(1, ledger_offset=8), asked(2, "stop", ledger_offset=9), issued(3, ledger_offset=9)]
    assert commands(timeline)[0].cause == "entry-2"


def test_a_command_without_a_cause_in_its_ledger_entry_has_none() -> None:
    assert commands([finding(1), issued(2)])[0].cause is None


def test_acks_tell_their_delay_since_the_decision_in_milliseconds() -> None:
    held = published((ack("received", 10.045), ack("applied", 10.052)))
    (command,) = commands([issued(10)], (held,), {"c-1": "0a1b2c3d"})
    assert [(answer.status, round(answer.delay_ms)) for answer in command.acks] == [("received", 45), ("applied", 52)]
    assert (command.signed_by, command.unanswered, command.stored) == ("0a1b2c3d", (), True)


def test_a_controller_that_only_received_has_not_answered() -> None:
    held = published((ack("received", 10.045),), controllers=["flagd", "gateway"])
    assert commands([issued(10)], (held,))[0].unanswered == ("flagd", "gateway")


def test_a_command_that_is_not_stored_yet_is_told_from_the_journal_alone() -> None:
    (command,) = commands([issued(10)])
    assert (command.action, command.decided_at, command.stored) == ("rollback", at(10), False)
    assert (command.times_sent, command.dry_run, command.signed_by, command.controllers) == (None, None, None, None)


def test_commands_and_findings_of_other_runs_are_left_out() -> None:
    timeline = [finding(1, run=0), issued(2, run=2), finding(3), issued(4)]
    assert [command.place.journal_number for command in commands(timeline)] == [4]
    assert [line.place.journal_number for line in chain.findings(timeline, 1, Cells(20))] == [3]


def test_requests_of_all_runs_are_kept_with_the_judges_word() -> None:
    lines = chain.requests([asked(0, "register", run=0), asked(1, "start", run=0), asked(2, "start", accepted=False)])
    assert [(line.action, line.accepted, line.by) for line in lines] == [
        ("register", True, "ada"),
        ("start", True, "ada"),
        ("start", False, "ada"),
    ]


def test_a_finding_of_a_small_cell_loses_its_numbers_and_its_sentence_everywhere() -> None:
    timeline = [finding(1, **TINY, sentence="3 traces took 812 ms", ledger_offset=9), issued(2, ledger_offset=9)]
    (line,) = chain.findings(timeline, 1, Cells(20))
    (command,) = commands(timeline)
    assert (line.observed, line.bound, line.n_control, line.n_treatment) == (None, None, None, None)
    for words in (line.sentence, command.reason):
        assert "812" not in words
        assert "tenant=tiny" in words
        assert "fewer than 20 traces" in words


def test_a_finding_of_everybody_is_never_hidden() -> None:
    (line,) = chain.findings([finding(1, n_control=3, n_treatment=2)], 1, Cells(20))
    assert (line.hidden, line.n_treatment) == (False, 2)


def test_rows_that_were_not_judged_are_told_once_by_cause_with_the_last_count() -> None:
    timeline = [
        entry("evidence_refused", 1, {"cause": "duplicate", "rows": 2}),
        entry("evidence_refused", 2, {"cause": "spec_hash", "rows": 1}),
        entry("evidence_refused", 3, {"cause": "duplicate", "rows": 8}),
    ]
    assert [(line.cause, line.rows) for line in chain.refused(timeline)] == [("duplicate", 8), ("spec_hash", 1)]


def test_exposures_are_those_of_the_runs_own_commands() -> None:
    counted = [served(1, 0, "c-of-run-0"), served(4, 2, "c-1")]
    assert chain.exposures(counted, commands([issued(10)])) == (counted[1],)
