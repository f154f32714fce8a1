"""What on-call is told by the courier: once, again while it fires, and when it is over."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stoploss.commands import Action
from stoploss.control.alert_routes import parse_routes
from stoploss.control.alerts import Alert, alert_for
from stoploss.control.firing import End, Firing
from stoploss.control.post import Endpoint, Posted
from stoploss.control.routed import Routed
from stoploss.control.webhook import Webhook
from stoploss.errors import ConfigurationError
from stoploss.lifecycle import Lifecycle
from stoploss.settings import load
from streams import alerting as module
from streams.alerting import Alerting, is_all_clear, is_decided, is_over, receivers_of
from tests.control.orders import NOW, order, rollback
from tests.control.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def alerting(receiver: Receiver) -> Iterator[Alerting]:
    with closing(Alerting([Webhook(Endpoint(receiver.url))])) as alerting:
        yield alerting


LAST = alert_for(rollback(experiment="last"))


def told(receiver: Receiver, alerting: Alerting) -> list[tuple[str, str, str]]:
    """(experiment, alert name, status) of everything posted so far: one more alert is posted and waited for."""
    alerting.tell([LAST])
    receiver.wait_for(lambda body: entries(body)[0][0] == "last")
    return [entry for body in receiver.bodies for entry in entries(body) if entry[0] != "last"]


def entries(body: Any) -> list[tuple[str, str, str]]:
    return [(alert["labels"]["experiment"], alert["labels"]["alertname"], alert["status"]) for alert in body["alerts"]]


def test_what_fires_is_told_once(alerting: Alerting, receiver: Receiver) -> None:
    for _ in range(3):
        alerting.tell([alert_for(rollback())])
    assert told(receiver, alerting) == [("checkout", "StoplossRollback", "firing")]


def test_what_is_only_information_is_not_told(alerting: Alerting, receiver: Receiver) -> None:
    alerting.tell([alert_for(order())])
    alerting.tell([alert_for(rollback(dry_run=True))])
    assert told(receiver, alerting) == []


def test_a_resume_resolves_everything_of_its_experiment_and_nothing_else(
    alerting: Alerting, receiver: Receiver
) -> None:
    alerting.tell([alert_for(order(Action.PAUSE, 2))])
    alerting.tell([alert_for(rollback(3))])
    alerting.tell([alert_for(rollback(experiment="other"))])
    alerting.tell([End("checkout", NOW + 1)])
    assert told(receiver, alerting) == [
        ("checkout", "StoplossPause", "firing"),
        ("checkout", "StoplossRollback", "firing"),
        ("other", "StoplossRollback", "firing"),
        ("checkout", "StoplossPause", "resolved"),
        ("checkout", "StoplossRollback", "resolved"),
    ]


def test_what_still_fires_is_told_again_at_each_repeat_and_what_is_over_is_not(
    alerting: Alerting, receiver: Receiver
) -> None:
    alerting.tell([alert_for(rollback())])
    alerting.repeat()
    alerting.tell([End("checkout", NOW + 1)])
    alerting.repeat()
    assert [status for _, _, status in told(receiver, alerting)] == ["firing", "firing", "resolved"]


def test_a_new_harm_after_a_resume_is_told_again(alerting: Alerting, receiver: Receiver) -> None:
    alerting.tell([alert_for(rollback())])
    alerting.tell([End("checkout", NOW + 1)])
    alerting.tell([alert_for(rollback(run=2, decided_at=NOW + 2))])
    assert [status for _, _, status in told(receiver, alerting)] == ["firing", "resolved", "firing"]


def test_a_receiver_that_hangs_holds_nobody_up_and_costs_only_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUED", 5)
    hanging = Hanging()
    with closing(Alerting([hanging])) as alerting:
        for number in range(50):
            alerting.tell([alert_for(rollback(experiment=f"e{number}"))])
        hanging.go_on.set()
        assert hanging.posted.acquire(timeout=10)


class Hanging:
    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.posted = threading.Semaphore(0)

    def post(self, alerts: Sequence[Alert]) -> Posted:
        self.go_on.wait(30)
        self.posted.release()
        return Posted(True)


def test_a_receiver_that_refuses_does_not_keep_the_next_from_being_told(receiver: Receiver) -> None:
    receiver.answers += [400]
    with closing(Alerting([Webhook(Endpoint(receiver.url)), Webhook(Endpoint(receiver.url))])) as alerting:
        alerting.tell([alert_for(rollback())])
    assert [entry[1] for body in receiver.bodies for entry in entries(body)] == ["StoplossRollback", "StoplossRollback"]


def test_what_was_queued_goes_out_before_a_courier_ends(receiver: Receiver) -> None:
    alerting = Alerting([Webhook(Endpoint(receiver.url))])
    for number in range(20):
        alerting.tell([alert_for(rollback(experiment=f"e{number}"))])
    alerting.close()
    assert len(receiver.bodies) == 20


def test_only_a_start_or_resume_is_all_clear() -> None:
    assert [action for action in Action if is_all_clear(order(action))] == [Action.SET_EXPOSURE]


def test_an_exposure_that_is_ordered_again_resolves_nothing() -> None:
    """R2: the judge orders it, where more is exposed than is authorised; no person has said that all is well."""
    assert not is_all_clear(order(Action.SET_EXPOSURE, expires_at=None))


def test_what_one_receiver_did_not_take_reaches_it_with_the_next_repeat(receiver: Receiver) -> None:
    receiver.answers.append(400)
    text = f"apiVersion: stoploss/v1alpha1\nkind: Alerts\nroutes: [{{name: a, webhook: '{receiver.url}'}}]"
    routed = Routed(Webhook(Endpoint(receiver.url)), parse_routes(text)[0])
    with closing(Alerting([routed])) as alerting:
        alerting.tell([alert_for(rollback())])
        alerting.repeat()
        alerting.repeat()
    assert [entry[1:] for body in receiver.bodies for entry in entries(body)] == [("StoplossRollback", "firing")] * 2


def test_a_person_who_ends_or_registers_anew_ends_what_fires() -> None:
    assert {state for state in Lifecycle if is_over(state)} == {
        Lifecycle.REGISTERED,
        Lifecycle.APPROVED,
        Lifecycle.COMPLETED,
        Lifecycle.REVIEWED,
    }


def test_what_is_rolled_out_ends_what_fires_and_a_later_harm_fires() -> None:
    assert {state for state in Lifecycle if is_decided(state) and not is_over(state)} == {Lifecycle.ADOPTED}
    stop = rollback()
    firing = Firing()
    before = alert_for(stop, runbook="")
    later = alert_for(replace(stop, decided_at=stop.decided_at + 2), runbook="")
    assert firing.take([before]) == [before]
    assert [alert.identity for alert in firing.take([End(stop.experiment, stop.decided_at + 1)])] == [before.identity]
    assert firing.take([before, later]) == [later]


def test_receivers_are_those_of_the_settings_and_of_the_routes(tmp_path: Path) -> None:
    def kinds(**settings: str) -> list[str]:
        return [type(receiver).__name__ for receiver in receivers_of(load(**settings))]

    routes, key = tmp_path / "alerts.yaml", tmp_path / "key"
    key.write_text("r0ut1ng\n")
    routes.write_text(
        "apiVersion: stoploss/v1alpha1\nkind: Alerts\nroutes:\n"
        f"- {{name: pager, pagerduty: {{keyFile: {key}}}}}\n- {{name: am, alertmanager: 'http://127.0.0.1:9'}}\n"
    )
    assert kinds(alerts_file=str(routes)) == ["Routed", "Routed"]
    key.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        kinds(alerts_file=str(routes))

    assert kinds() == []
    assert kinds(webhook_url="http://127.0.0.1:9/hook", alertmanager_url="http://127.0.0.1:9") == [
        "Alertmanager",
        "Webhook",
    ]
