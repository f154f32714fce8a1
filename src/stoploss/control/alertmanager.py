"""Alerts to Prometheus Alertmanager, through its v2 API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stoploss.commands import Micros
from stoploss.control.alerts import Alert
from stoploss.control.controller import wall_clock
from stoploss.control.post import Endpoint, Posted
from stoploss.control.rfc3339 import rfc3339

FIRING_FOR = 24 * 3600 * 1_000_000
"""Alertmanager resolves an alert without end after its resolve_timeout (5 min), even when only its sender has died: so
an end is always sent, this many microseconds ahead."""


def payload(alerts: Sequence[Alert], *, firing_until: Micros) -> list[dict[str, Any]]:
    """Body of `POST /api/v2/alerts`.

    firing_until  end that firing alerts are given, unless they are posted again
    """
    return [_entry(alert, firing_until) for alert in alerts]


def _entry(alert: Alert, firing_until: Micros) -> dict[str, Any]:
    ends_at = firing_until if alert.ends_at is None else alert.ends_at
    entry = {
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": rfc3339(max(ends_at, alert.starts_at)),
    }
    return {**entry, "generatorURL": alert.generator} if alert.generator else entry


class Alertmanager:
    """Posts to one Alertmanager; of a cluster, give every member its own."""

    def __init__(self, endpoint: Endpoint, *, clock: Callable[[], Micros] = wall_clock) -> None:
        """endpoint: its address ends in /api/v2/alerts."""
        self._endpoint = endpoint
        self._clock = clock

    def post(self, alerts: Sequence[Alert]) -> Posted:
        """Blocks for as long as the endpoint allows; never raises over the network. Nothing to tell is told nobody."""
        if not alerts:
            return Posted(True)
        return self._endpoint.post(payload(alerts, firing_until=self._clock() + FIRING_FOR))
