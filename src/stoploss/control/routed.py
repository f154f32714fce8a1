"""A receiver of alerts that is told once of each, only of what it is for, and at its own hours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from stoploss.commands import Micros
from stoploss.control.alert_routes import Route
from stoploss.control.alerts import BLIND, OVERDUE, Alert, Identity
from stoploss.control.controller import wall_clock
from stoploss.control.post import Posted
from stoploss.governance.windows import inside

GATE = "gate"
SECOND = 1_000_000


class Receiver(Protocol):
    def post(self, alerts: Sequence[Alert]) -> Posted: ...


class Routed:
    """Remembers what its receiver was told, so that an alert that is posted again each minute is one message.

    What the receiver did not take, and what quiet hours held back, goes out with a later post; an end is told only
    to whom the beginning was told.
    """

    def __init__(self, receiver: Receiver, route: Route, *, clock: Callable[[], Micros] = wall_clock) -> None:
        self._receiver, self._route, self._clock = receiver, route, clock
        self._told: set[Identity] = set()
        self._ends: dict[Identity, Alert] = {}

    def post(self, alerts: Sequence[Alert]) -> Posted:
        """One by one, so that what the receiver took is never sent again; goes on behind one that it did not take."""
        self._note_ends(alerts)
        now = self._clock()
        due = [alert for alert in (*self._ends.values(), *self._begun(alerts)) if self._may_tell(alert, now)]
        failed = [posted for alert in due if not (posted := self._tell(alert)).ok]
        return failed[0] if failed else Posted(True)

    def _note_ends(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            if alert.ends_at is not None and alert.identity in self._told:
                self._told.remove(alert.identity)
                self._ends[alert.identity] = alert

    def _begun(self, alerts: Sequence[Alert]) -> list[Alert]:
        return [alert for alert in alerts if alert.ends_at is None and alert.identity not in self._told]

    def _may_tell(self, alert: Alert, now: Micros) -> bool:
        return self._concerns(alert, now) and (is_never_quiet(alert) or not self._is_quiet(now))

    def _concerns(self, alert: Alert, now: Micros) -> bool:
        """What has ended was told before, so it is of concern, however short it was."""
        if alert.severity not in self._route.severities:
            return False
        patience = self._route.unapplied_after
        if patience is None or alert.ends_at is not None:
            return True
        return alert.alertname == OVERDUE and now - alert.starts_at >= patience * SECOND

    def _is_quiet(self, now: Micros) -> bool:
        return any(inside(hours.days, hours.from_, hours.to, hours.timezone, now) for hours in self._route.quiet)

    def _tell(self, alert: Alert) -> Posted:
        """A new beginning takes the place of an end that was not taken: the receiver knows both under one name."""
        posted = self._receiver.post([alert])
        if posted.ok:
            self._ends.pop(alert.identity, None)
        if posted.ok and alert.ends_at is None:
            self._told.add(alert.identity)
        return posted


def is_never_quiet(alert: Alert) -> bool:
    """Whether it wakes people at all hours: a gate was tripped, a stop is not obeyed, or nobody would see harm."""
    return alert.rule == GATE or alert.alertname in (OVERDUE, BLIND)
