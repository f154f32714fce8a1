"""Alerts to any webhook that understands Alertmanager's, version 4, without an Alertmanager between.

Source: Alertmanager 0.25, notify/webhook and template.Data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stoploss.control.alerts import Alert
from stoploss.control.post import Endpoint, Posted
from stoploss.control.rfc3339 import rfc3339

GROUP_BY = ("alertname", "experiment")
NO_END = "0001-01-01T00:00:00Z"
"""Go's zero time: how Alertmanager says that an alert has no end yet."""


def payload(alerts: Sequence[Alert], *, receiver: str, external_url: str = "") -> dict[str, Any]:
    """Body for one group of alerts: they have alertname and experiment in common.

    receiver      name that the receiver knows itself by
    external_url  address of the sender, for links
    """
    labels = [alert.labels for alert in alerts]
    group = {name: labels[0][name] for name in GROUP_BY}
    return {
        "version": "4",
        "groupKey": group_key(group),
        "truncatedAlerts": 0,
        "status": "firing" if any(alert.ends_at is None for alert in alerts) else "resolved",
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": common(labels),
        "commonAnnotations": common([alert.annotations for alert in alerts]),
        "externalURL": external_url,
        "alerts": [_entry(alert) for alert in alerts],
    }


def _entry(alert: Alert) -> dict[str, Any]:
    return {
        "status": alert.status,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": NO_END if alert.ends_at is None else rfc3339(alert.ends_at),
        "generatorURL": alert.generator,
        "fingerprint": fingerprint(alert.labels),
    }


def group_key(group: Mapping[str, str]) -> str:
    """As Alertmanager writes it below a root route without matchers."""
    pairs = ", ".join(f'{name}="{_escaped(value)}"' for name, value in sorted(group.items()))
    return "{}:{" + pairs + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def common(maps: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What all of them say alike."""
    return {key: value for key, value in maps[0].items() if all(other.get(key) == value for other in maps)}


def fingerprint(labels: Mapping[str, str]) -> str:
    """Prometheus' identity of a label set: FNV-1a, 64 bits, over sorted names and values each ended by 0xFF.

    >>> fingerprint({})
    'cbf29ce484222325'
    """
    hashed = 0xCBF29CE484222325
    for name, value in sorted(labels.items()):
        for byte in name.encode() + b"\xff" + value.encode() + b"\xff":
            hashed = (hashed ^ byte) * 0x100000001B3 % 2**64
    return f"{hashed:016x}"


class Webhook:
    """Posts each group of alerts by itself."""

    def __init__(self, endpoint: Endpoint, *, receiver: str = "stoploss", external_url: str = "") -> None:
        self._endpoint = endpoint
        self._receiver = receiver
        self._external_url = external_url

    def post(self, alerts: Sequence[Alert]) -> Posted:
        """Blocks for as long as the endpoint allows, per group; never raises over the network.

        Ends at the first group that fails: the caller sends all of them again.
        """
        groups: dict[tuple[str, str], list[Alert]] = {}
        for alert in alerts:
            groups.setdefault((alert.alertname, alert.experiment), []).append(alert)
        for group in groups.values():
            posted = self._endpoint.post(payload(group, receiver=self._receiver, external_url=self._external_url))
            if not posted.ok:
                return posted
        return Posted(True)
