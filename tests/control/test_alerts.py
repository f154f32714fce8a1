from __future__ import annotations

from dataclasses import replace

import pytest

from stoploss.commands import Action, Evidence
from stoploss.control.alerts import (
    SEVERITY,
    alert_for,
    alert_for_finding,
    alert_for_overdue,
    evidence_sentence,
    linked,
    resolved,
)
from stoploss.journal import GENESIS, Finding, JournalEntry
from stoploss.ledger import AckOverdue

from .orders import EVIDENCE, NOW, SECOND, order, rollback

SENTENCE = (
    "error_rate: control 0.02 (12,000 rows, 9,000 units), treatment 0.09 (1,150 rows, 800 units); "
    "effect at least 0.051, margin 0.01"
)
EVERYBODY = replace(EVIDENCE, segment=None)
OF_ACME = "error_rate for tenant=acme; its numbers: stoploss explain"


def test_a_rollback_pages_with_its_reason_and_the_numbers_compared() -> None:
    alert = alert_for(rollback(evidence=EVERYBODY, run=3), runbook="https://runbook")
    assert alert.labels == {
        "alertname": "StoplossRollback",
        "severity": "page",
        "experiment": "checkout",
        "variant": "small",
        "rule": "guardrail",
    }
    assert alert.annotations == {
        "summary": "small leaked PII; everybody gets current.",
        "evidence": SENTENCE,
        "runbook_url": "https://runbook",
        "run": "3",
    }
    assert (alert.status, alert.starts_at, alert.ends_at) == ("firing", NOW, None)


def test_what_is_not_known_is_left_out_and_never_empty() -> None:
    alert = alert_for(rollback())
    assert set(alert.labels) == {"alertname", "severity", "experiment", "variant"}
    assert set(alert.annotations) == {"summary", "run"}


def test_a_link_leads_to_the_console_and_to_the_specs_runbook_or_else_the_chapter_of_ours() -> None:
    alert = linked(alert_for(rollback(experiment="a b")), console="https://console/", runbooks="https://docs/runbook")
    assert alert.annotations["console_url"] == alert.generator == "https://console/experiments/a%20b"
    assert alert.annotations["runbook_url"] == "https://docs/runbook#stoplossrollback"
    named = linked(alert_for(rollback(), runbook="https://runbook"), runbooks="https://docs/runbook")
    assert (named.runbook, named.generator) == ("https://runbook", "")


def test_an_alert_says_that_the_spec_was_amended() -> None:
    """X10"""
    alert = linked(alert_for(rollback()), amended="amended 2 times, last by eve: too strict")
    assert alert.annotations["amended"] == "amended 2 times, last by eve: too strict"
    assert alert.identity == alert_for(rollback()).identity


def test_every_action_has_a_severity() -> None:
    assert set(SEVERITY) == set(Action)


def test_a_dry_run_wakes_nobody() -> None:
    alert = alert_for(rollback(dry_run=True))
    assert (alert.severity, alert.summary) == ("info", "Dry run: small leaked PII; everybody gets current.")


def test_a_resolved_alert_is_the_same_alert_with_an_end() -> None:
    firing = alert_for(rollback(evidence=EVIDENCE))
    over = resolved(firing, NOW + SECOND)
    assert (over.status, over.ends_at) == ("resolved", NOW + SECOND)
    assert over.labels == firing.labels


def test_a_finding_is_told_in_its_own_words_and_severity() -> None:
    finding = Finding("breach", "EVIDENCE_ABOVE_LIMIT", "Errors of small are up.", "hold", EVERYBODY)
    entry = JournalEntry("j", "checkout", 1, 4, 1, NOW, 0, 7, 0, GENESIS, finding)
    alert = alert_for_finding(entry, finding, variant="small", runbook="https://runbook")
    assert alert.labels == {
        "alertname": "StoplossFinding",
        "severity": "hold",
        "experiment": "checkout",
        "variant": "small",
        "rule": "guardrail",
    }
    assert alert.annotations["summary"] == "Errors of small are up."
    assert (alert.annotations["evidence"], alert.annotations["run"], alert.starts_at) == (SENTENCE, "4", NOW)


def test_of_a_segment_no_numbers_are_told_for_they_may_tell_of_a_small_one() -> None:
    """P2"""
    ordered = alert_for(order(Action.STOP_SEGMENT, 2, reason="errors of small are 0.09", evidence=EVIDENCE))
    finding = Finding("breach", "EVIDENCE_ABOVE_LIMIT", "errors of small are 0.09", "hold", EVIDENCE)
    found = alert_for_finding(JournalEntry("j", "checkout", 1, 4, 1, NOW, 0, 7, 0, GENESIS, finding), finding)
    assert (ordered.summary, found.summary) == (f"stop_segment 'checkout': {OF_ACME}", f"breach: {OF_ACME}")
    assert ordered.labels["segment"] == found.labels["segment"] == "tenant=acme"
    assert "0.0" not in ordered.evidence + found.evidence


def test_an_overdue_command_says_who_did_not_obey_and_what_to_do() -> None:
    overdue = AckOverdue("checkout", "c-1-2", "flagd", waited_ms=2_500, resent=3, run=1, sequence=2)
    alert = alert_for_overdue(rollback(), overdue, at=NOW)
    assert (alert.alertname, alert.severity) == ("StoplossCommandOverdue", "page")
    assert alert.summary == (
        "Controller flagd has not applied rollback of checkout after 2.5 s and 3 re-sends: small may still be "
        "serving. Set the flag by hand."
    )


@pytest.mark.parametrize(
    ("evidence", "sentence"),
    [
        (Evidence("gate", 1), "gate: no numbers"),
        (Evidence("gate", 1, metric="pii_exposed", observed=1.0, bound=0.0), "pii_exposed: observed 1 against 0"),
        (Evidence("budget", 1, statistic="burn", observed=15.0), "budget: burn 15"),
        (Evidence("drift", 1, treatment=0.0, n_treatment=9), "drift: treatment 0 (9 rows)"),
        (Evidence("g", 1, lower=-0.5, upper=0.25), "g: effect at least -0.5, effect at most 0.25"),
    ],
)  # fmt: skip
def test_no_data_is_left_out_and_zero_is_told(evidence: Evidence, sentence: str) -> None:
    assert evidence_sentence(evidence) == sentence


def test_an_exposure_change_is_only_information() -> None:
    assert alert_for(order()).severity == "info"
