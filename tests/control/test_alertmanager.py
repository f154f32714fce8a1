"""On the real Alertmanager: what it takes, what it passes on, and that our own webhook has the shape of its."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from stoploss.control import webhook
from stoploss.control.alertmanager import FIRING_FOR, Alertmanager, payload
from stoploss.control.alerts import Alert, alert_for, linked, resolved
from stoploss.control.controller import wall_clock
from stoploss.control.post import Endpoint

from .orders import EVIDENCE, NOW, SECOND, rollback
from .receiver import receiving
from .servers import Server, alertmanager

__all__ = ["alertmanager"]


def _alert(**changes: Any) -> Alert:
    command = rollback(evidence=EVIDENCE, decided_at=wall_clock(), **changes)
    return alert_for(command, runbook="https://runbook")


def test_firing_and_resolved_alerts_are_written_as_its_api_reads_them() -> None:
    firing = alert_for(rollback())
    ended = resolved(firing, NOW + SECOND)
    first, second = payload([firing, ended], firing_until=NOW + 60 * SECOND)
    assert first == {
        "labels": firing.labels,
        "annotations": firing.annotations,
        "startsAt": "2023-11-14T22:13:20.000000Z",
        "endsAt": "2023-11-14T22:14:20.000000Z",
    }
    assert second == {**first, "endsAt": "2023-11-14T22:13:21.000000Z"}


def test_an_end_before_the_start_is_never_sent_for_it_would_be_refused() -> None:
    (entry,) = payload([resolved(alert_for(rollback()), NOW - SECOND)], firing_until=NOW)
    assert entry["endsAt"] == entry["startsAt"]


def test_a_firing_alert_outlives_its_sender_by_a_day() -> None:
    with receiving() as server:
        Alertmanager(Endpoint(server.url), clock=lambda: NOW).post([alert_for(rollback())])
    assert FIRING_FOR == 86_400 * SECOND
    assert server.bodies[0][0]["endsAt"] == "2023-11-15T22:13:20.000000Z"


def test_a_firing_alert_reaches_on_call_and_so_does_its_end(alertmanager: Server) -> None:
    alert = _alert(experiment="fires-and-ends")
    assert alertmanager.client.post([alert]).ok
    assert alertmanager.told(alert, "firing")["commonAnnotations"] == alert.annotations
    assert alertmanager.client.post([resolved(alert, wall_clock())]).ok
    assert alertmanager.told(alert, "resolved")["alerts"][0]["status"] == "resolved"


def test_on_call_gets_labels_to_route_by_and_links_to_open(alertmanager: Server) -> None:
    evidence = replace(EVIDENCE, rule="guardrail[0]")
    command = rollback(experiment="routed", evidence=evidence, decided_at=wall_clock())
    alert = linked(alert_for(command), console="https://console", runbooks="https://docs/runbook.md")
    assert alertmanager.client.post([alert]).ok
    told = alertmanager.told(alert, "firing")["alerts"][0]
    assert set(told["labels"]) == {"alertname", "severity", "experiment", "variant", "segment", "rule"}
    assert set(told["annotations"]) == {"summary", "evidence", "runbook_url", "console_url", "run"}
    assert told["generatorURL"] == told["annotations"]["console_url"] == "https://console/experiments/routed"


def test_the_same_alert_posted_twice_is_one_alert(alertmanager: Server) -> None:
    alert = _alert(experiment="posted-twice")
    assert alertmanager.client.post([alert, alert]).ok
    assert alertmanager.client.post([alert]).ok
    alertmanager.told(alert, "firing")
    assert [found["labels"] for found in alertmanager.alerts()].count(alert.labels) == 1


def test_our_own_webhook_says_what_alertmanagers_says(alertmanager: Server) -> None:
    alert = _alert(experiment="same-shape")
    assert alertmanager.client.post([alert]).ok
    theirs = alertmanager.told(alert, "firing")
    ours = webhook.payload([alert], receiver="on-call", external_url=theirs["externalURL"])
    (their_entry,), (our_entry,) = theirs["alerts"], ours["alerts"]
    our_start, their_start = our_entry.pop("startsAt"), their_entry.pop("startsAt")
    assert datetime.fromisoformat(our_start) == datetime.fromisoformat(their_start)
    assert ours == theirs


def test_what_alertmanager_refuses_comes_back_with_its_reason(alertmanager: Server) -> None:
    nameless = Alert("", "", "", "", "", "", 1, "No labels at all.", "", "", wall_clock())
    posted = alertmanager.client.post([nameless])
    assert not posted.ok
    assert "answered 400" in posted.reason
