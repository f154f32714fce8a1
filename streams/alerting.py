"""On-call alerts of the courier: which fire now, posted again while they do, resolved when a person resumes.

Posting happens in a thread of its own with a bounded queue: a slow Alertmanager delays nothing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Protocol

import structlog

from stoploss.commands import Action, Command, Micros
from stoploss.control.alertmanager import Alertmanager
from stoploss.control.alerts import Alert, resolved
from stoploss.control.post import Endpoint, Posted
from stoploss.control.webhook import Webhook
from stoploss.settings import Settings

log = structlog.get_logger("stoploss.courier")

QUEUED = 1_000
REPEAT_EVERY_S = 60.0


class Receiver(Protocol):
    def post(self, alerts: Sequence[Alert]) -> Posted: ...


def receivers_of(settings: Settings) -> list[Receiver]:
    """Where alerts go, by settings; none is fine."""
    found: list[Receiver] = []
    if settings.alertmanager_url:
        found.append(Alertmanager(Endpoint(settings.alertmanager_url.rstrip("/") + "/api/v2/alerts")))
    if settings.webhook_url:
        found.append(Webhook(Endpoint(settings.webhook_url)))
    return found


class Alerting:
    """Posts what fires and what is over."""

    def __init__(self, receivers: Sequence[Receiver]) -> None:
        self._receivers = list(receivers)
        self._firing: dict[tuple[tuple[str, str], ...], Alert] = {}
        self._queue: queue.Queue[list[Alert] | None] = queue.Queue(QUEUED)
        self._thread = threading.Thread(target=self._work, name="alerting", daemon=True)
        self._thread.start()

    def fire(self, alert: Alert) -> None:
        """Tells of it once, and again every minute until it is resolved; what is only information is not told."""
        key = tuple(sorted(alert.labels.items()))
        if alert.severity == "info" or key in self._firing:
            return
        self._firing[key] = alert
        self._post([alert])

    def resolve(self, experiment: str, at: Micros, alertname: str | None = None) -> None:
        """All alerts of an experiment are over, since a person has resumed it; or those of one name."""
        over = {
            key: alert
            for key, alert in self._firing.items()
            if alert.experiment == experiment and alertname in (None, alert.alertname)
        }
        for key in over:
            del self._firing[key]
        if over:
            self._post([resolved(alert, at) for alert in over.values()])

    def repeat(self) -> None:
        if self._firing:
            self._post(list(self._firing.values()))

    def _post(self, alerts: list[Alert]) -> None:
        try:
            self._queue.put_nowait(alerts)
        except queue.Full:
            log.error("alerts dropped: receivers have not kept up", alerts=len(alerts), queued=QUEUED)

    def close(self, timeout_s: float = 5.0) -> None:
        """What is queued goes out first, as far as the time allows; the next courier tells again what still fires."""
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            log.error("alerts dropped: receivers have not kept up", alerts=self._queue.qsize(), queued=QUEUED)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (alerts := self._queue.get()) is not None:
            for receiver in self._receivers:
                posted = receiver.post(alerts)
                if not posted.ok:
                    log.error("alerts not delivered", reason=posted.reason, alerts=len(alerts))


def is_all_clear(command: Command) -> bool:
    """A person has started or resumed: what fired belongs to the run before.

    Only such a raise expires; the judge orders the exposure again, too, where more is exposed than is authorised.
    """
    return command.action == Action.SET_EXPOSURE and command.expires_at is not None
