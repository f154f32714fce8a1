"""Alerts to PagerDuty: an incident for each, resolved when it is over.

Source: PagerDuty, Events API v2, "Send an alert event".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stoploss.control.alerts import Alert
from stoploss.control.post import Endpoint, Posted
from stoploss.control.rfc3339 import rfc3339
from stoploss.control.webhook import fingerprint

SEVERITY = {"page": "critical", "hold": "warning", "info": "info"}
LONGEST_SUMMARY = 1_024


def payload(alert: Alert, *, routing_key: str) -> dict[str, Any]:
    """Body of one event. Equal labels give an equal dedup_key, so an alert told twice is one incident."""
    event = {"routing_key": routing_key, "dedup_key": f"stoploss-{fingerprint(alert.labels)}"}
    if alert.ends_at is not None:
        return {**event, "event_action": "resolve"}
    return {**event, "event_action": "trigger", "client": "stoploss", "payload": _told(alert), "links": _links(alert)}


def _told(alert: Alert) -> dict[str, Any]:
    return {
        "summary": _summary(alert),
        "source": f"stoploss/{alert.experiment}",
        "severity": SEVERITY[alert.severity],
        "timestamp": rfc3339(alert.starts_at),
        "component": alert.experiment,
        "group": alert.segment or "everybody",
        "class": alert.alertname,
        "custom_details": {**alert.labels, **alert.annotations},
    }


def _summary(alert: Alert) -> str:
    text = f"{alert.experiment}: {alert.summary}"
    return text if len(text) <= LONGEST_SUMMARY else f"{text[: LONGEST_SUMMARY - 1]}…"


def _links(alert: Alert) -> list[dict[str, str]]:
    named = ((alert.generator, "Console"), (alert.runbook, "Runbook"))
    return [{"href": href, "text": text} for href, text in named if href]


class PagerDuty:
    """Posts to one service of PagerDuty."""

    def __init__(self, endpoint: Endpoint, routing_key: str) -> None:
        self._endpoint = endpoint
        self._routing_key = routing_key

    def post(self, alerts: Sequence[Alert]) -> Posted:
        """One event each; ends at the first that fails. To send one again does no harm."""
        for alert in alerts:
            posted = self._endpoint.post(payload(alert, routing_key=self._routing_key))
            if not posted.ok:
                return posted
        return Posted(True)
