"""Whom a route tells of what: each alert once, only what concerns it, and at its hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from stoploss.commands import Action, Micros
from stoploss.control.alert_routes import Route, parse_routes
from stoploss.control.alerts import Alert, alert_for, alert_for_overdue, resolved
from stoploss.control.post import Posted
from stoploss.control.routed import Routed
from stoploss.ledger import AckOverdue

from .orders import EVIDENCE, NOW, SECOND, order, rollback

NIGHT = "quiet: [{days: Mon-Sun, from: '22:00', to: '07:00'}]"
MORNING = NOW + 9 * 3_600 * SECOND  # NOW is a Tuesday, 22:13 UTC


@dataclass
class Phone:
    """Keeps what it is told; refuses so many times first."""

    refuses: int = 0
    told: list[tuple[str, str]] = field(default_factory=list)

    def post(self, alerts: Sequence[Alert]) -> Posted:
        if self.refuses:
            self.refuses -= 1
            return Posted(False, "engaged")
        self.told += [(alert.alertname, alert.status) for alert in alerts]
        return Posted(True)


@dataclass
class Told:
    """A route and its receiver, at a time that the test sets."""

    text: str = ""
    phone: Phone = field(default_factory=Phone)
    now: Micros = NOW

    def __post_init__(self) -> None:
        text = f"apiVersion: stoploss/v1alpha1\nkind: Alerts\nroutes: [{{name: a, webhook: 'http://x', {self.text}}}]"
        route: Route = parse_routes(text)[0]
        self.routed = Routed(self.phone, route, clock=lambda: self.now)

    def post(self, *alerts: Alert) -> list[tuple[str, str]]:
        """What this post alone told."""
        before = len(self.phone.told)
        self.routed.post(alerts)
        return self.phone.told[before:]


ROLLBACK = alert_for(rollback())
PAUSE = alert_for(order(Action.PAUSE, 2))
GATE = alert_for(order(Action.STOP, 3, evidence=replace(EVIDENCE, rule="gate", segment=None)))
OVERDUE = alert_for_overdue(rollback(), AckOverdue("checkout", "c-1-2", "flagd", 500, 1, 1, 2), at=NOW)


def test_what_is_posted_each_minute_is_told_once_and_so_is_its_end() -> None:
    told = Told()
    assert told.post(ROLLBACK) == [("StoplossRollback", "firing")]
    assert told.post(ROLLBACK) == []
    assert told.post(resolved(ROLLBACK, NOW)) == [("StoplossRollback", "resolved")]
    assert told.post(resolved(ROLLBACK, NOW)) == []


def test_what_was_not_taken_is_told_with_the_next_post_and_nothing_else_twice() -> None:
    told = Told(phone=Phone(refuses=1))
    assert told.routed.post([ROLLBACK, PAUSE]) == Posted(False, "engaged")
    assert told.phone.told == [("StoplossPause", "firing")]
    assert told.post(ROLLBACK, PAUSE) == [("StoplossRollback", "firing")]


def test_an_end_that_was_not_taken_is_told_later() -> None:
    told = Told()
    told.post(ROLLBACK)
    told.phone.refuses = 1
    assert told.post(resolved(ROLLBACK, NOW)) == []
    assert told.post() == [("StoplossRollback", "resolved")]


def test_a_new_harm_is_told_behind_the_end_of_the_old_one() -> None:
    told = Told()
    told.post(ROLLBACK)
    told.post(resolved(ROLLBACK, NOW))
    assert told.post(ROLLBACK) == [("StoplossRollback", "firing")]


def test_an_old_end_never_resolves_a_new_harm() -> None:
    told = Told()
    told.post(ROLLBACK)
    told.phone.refuses = 2
    told.post(resolved(ROLLBACK, NOW))
    told.phone.refuses = 1
    assert told.post(ROLLBACK) == [("StoplossRollback", "firing")]
    assert told.post(ROLLBACK) == []


def test_an_end_is_told_only_to_whom_the_beginning_was() -> None:
    assert Told().post(resolved(ROLLBACK, NOW)) == []


def test_a_route_is_told_of_its_severities_alone() -> None:
    assert Told("severities: [page]").post(ROLLBACK, PAUSE) == [("StoplossRollback", "firing")]
    assert Told("severities: [hold]").post(ROLLBACK, PAUSE) == [("StoplossPause", "firing")]


def test_quiet_hours_hold_an_alert_until_they_end_and_tell_it_then() -> None:
    told = Told(NIGHT)
    assert told.post(ROLLBACK) == []
    told.now = MORNING
    assert told.post(ROLLBACK) == [("StoplossRollback", "firing")]


def test_what_began_and_ended_in_quiet_hours_is_told_nobody() -> None:
    told = Told(NIGHT)
    told.post(ROLLBACK)
    told.post(resolved(ROLLBACK, NOW))
    told.now = MORNING
    assert told.post() == []


def test_quiet_hours_are_never_for_gates_nor_for_stops_that_nobody_obeys() -> None:
    assert Told(NIGHT).post(GATE, PAUSE, OVERDUE) == [
        ("StoplossStop", "firing"),
        ("StoplossCommandOverdue", "firing"),
    ]


def test_the_next_in_line_is_told_of_what_is_not_applied_for_long_and_of_nothing_else() -> None:
    told = Told("unappliedAfter: 2m")
    assert told.post(ROLLBACK, OVERDUE) == []
    told.now = NOW + 119 * SECOND
    assert told.post(ROLLBACK, OVERDUE) == []
    told.now = NOW + 120 * SECOND
    assert told.post(ROLLBACK, OVERDUE) == [("StoplossCommandOverdue", "firing")]
    assert told.post(resolved(OVERDUE, told.now)) == [("StoplossCommandOverdue", "resolved")]
