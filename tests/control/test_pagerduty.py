"""PagerDuty's Events API v2: what it requires of an event stands in ours, and an end finds its beginning."""

from __future__ import annotations

from dataclasses import replace

from stoploss.control.alerts import alert_for, linked, resolved
from stoploss.control.pagerduty import LONGEST_SUMMARY, PagerDuty, payload
from stoploss.control.post import Endpoint

from .orders import EVIDENCE, NOW, SECOND, rollback
from .receiver import receiving

ALERT = linked(
    alert_for(rollback(evidence=replace(EVIDENCE, segment=None)), runbook="https://runbook"), console="https://console"
)


def test_an_event_says_what_the_api_asks_for_and_where_to_look() -> None:
    event = payload(ALERT, routing_key="k")
    assert (event["routing_key"], event["event_action"], event["client"]) == ("k", "trigger", "stoploss")
    assert event["payload"] | {"custom_details": {}} == {
        "summary": "checkout: small leaked PII; everybody gets current.",
        "source": "stoploss/checkout",
        "severity": "critical",
        "timestamp": "2023-11-14T22:13:20.000000Z",
        "component": "checkout",
        "group": "everybody",
        "class": "StoplossRollback",
        "custom_details": {},
    }
    assert event["payload"]["custom_details"]["evidence"] == ALERT.evidence
    assert event["links"] == [
        {"href": "https://console/experiments/checkout", "text": "Console"},
        {"href": "https://runbook", "text": "Runbook"},
    ]


def test_an_end_resolves_the_incident_of_its_beginning_and_of_no_other() -> None:
    ended = payload(resolved(ALERT, NOW + SECOND), routing_key="k")
    assert ended == {
        "routing_key": "k",
        "event_action": "resolve",
        "dedup_key": payload(ALERT, routing_key="k")["dedup_key"],
    }
    other = payload(alert_for(rollback(experiment="other")), routing_key="k")
    assert other["dedup_key"] != ended["dedup_key"]
    assert len(ended["dedup_key"]) <= 255


def test_a_summary_is_never_longer_than_the_api_takes() -> None:
    long = payload(replace(ALERT, summary="x" * 5_000), routing_key="k")["payload"]["summary"]
    assert (len(long), long[-1]) == (LONGEST_SUMMARY, "…")


def test_each_alert_is_an_event_of_its_own_and_a_refusal_is_told() -> None:
    with receiving() as server:
        server.answers += [202, 400]
        target = PagerDuty(Endpoint(server.url), "k")
        assert target.post([ALERT]).ok
        posted = target.post([resolved(ALERT, NOW), ALERT])
    assert not posted.ok
    assert "answered 400" in posted.reason
    assert [body["event_action"] for body in server.bodies] == ["trigger", "resolve"]
