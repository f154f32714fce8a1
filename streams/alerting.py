"""On-call alerts of the courier: which fire now, posted again while they do, resolved when a person resumes.

Posting happens in a thread of its own with a bounded queue: a slow Alertmanager delays nothing.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterable, Sequence

import structlog

from stoploss.commands import Action, Command
from stoploss.control.alert_routes import Route, read_routes
from stoploss.control.alertmanager import Alertmanager
from stoploss.control.alerts import Alert
from stoploss.control.chat import Chat
from stoploss.control.firing import Firing, News
from stoploss.control.pagerduty import PagerDuty
from stoploss.control.post import Endpoint
from stoploss.control.routed import Receiver, Routed
from stoploss.control.webhook import Webhook
from stoploss.lifecycle import ENDED, WAITING, Lifecycle
from stoploss.settings import Settings, read_secret

log = structlog.get_logger("stoploss.courier")

QUEUED = 1_000
REPEAT_EVERY_S = 60.0


OVER = frozenset(state.value for state in WAITING | ENDED)
"""Lifecycles in which nothing fires: a person has ended the experiment, or prepares it anew."""


def receivers_of(settings: Settings) -> list[Receiver]:
    """Where alerts go, by settings and alerts.yaml; none is fine. Raises ConfigurationError over a file or secret."""
    found: list[Receiver] = []
    if settings.alertmanager_url:
        found.append(_alertmanager(settings.alertmanager_url))
    if settings.webhook_url:
        found.append(Webhook(Endpoint(settings.webhook_url)))
    routes = read_routes(settings.alerts_file) if settings.alerts_file is not None else ()
    return [*found, *(Routed(_target_of(route), route) for route in routes)]


def _alertmanager(address: str) -> Alertmanager:
    return Alertmanager(Endpoint(address.rstrip("/") + "/api/v2/alerts"))


def _target_of(route: Route) -> Receiver:
    """A route has exactly one target; alert_routes has seen to that."""
    if route.alertmanager is not None:
        return _alertmanager(route.alertmanager)
    if route.webhook is not None:
        return Webhook(Endpoint(route.webhook), receiver=route.name)
    if route.pagerduty is not None:
        return PagerDuty(Endpoint(route.pagerduty.url), read_secret(route.pagerduty.key_file))
    assert route.apprise is not None
    return Chat(route.apprise)


class Alerting:
    """Posts what fires and what is over."""

    def __init__(self, receivers: Sequence[Receiver]) -> None:
        self._receivers = list(receivers)
        self.firing = Firing()
        self._queue: queue.Queue[list[Alert] | None] = queue.Queue(QUEUED)
        self._thread = threading.Thread(target=self._work, name="alerting", daemon=True)
        self._thread.start()

    @property
    def has_receivers(self) -> bool:
        return bool(self._receivers)

    def tell(self, news: Iterable[News]) -> None:
        """Tells of a beginning once, and again every minute until it is over; of an end once."""
        self._post_in_order(self.firing.take(news))

    def recall(self, before: Firing) -> None:
        """What was told before: what still fires is told again."""
        self._post_in_order(self.firing.join(before))

    def repeat(self) -> None:
        """Even where nothing fires: a receiver may have an end to hear of that it did not take."""
        self._post(list(self.firing.alerts.values()))

    def _post_in_order(self, alerts: list[Alert]) -> None:
        """Beginnings and ends in posts of their own: in one post nobody knows what came first."""
        for _, alike in itertools.groupby(alerts, key=lambda alert: alert.status):
            self._post(list(alike))

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


def is_over(lifecycle: str) -> bool:
    """A person has ended the experiment, or registered it anew: what fired is known.

    >>> is_over(Lifecycle.COMPLETED), is_over(Lifecycle.ROLLED_BACK)
    (True, False)
    """
    return lifecycle in OVER


def is_decided(lifecycle: str) -> bool:
    """A person has decided, knowing what had fired. What is adopted is not over: what comes later fires."""
    return is_over(lifecycle) or lifecycle == Lifecycle.ADOPTED


def is_all_clear(command: Command) -> bool:
    """A person has started or resumed: what fired belongs to the run before.

    Only such a raise expires; the judge orders the exposure again, too, where more is exposed than is authorised.
    """
    return command.action == Action.SET_EXPOSURE and command.expires_at is not None
