from __future__ import annotations

from collections.abc import Iterator

import pytest

from stoploss.control.alerts import alert_for, resolved
from stoploss.control.post import Endpoint
from stoploss.control.webhook import NO_END, Webhook, group_key, payload

from .orders import EVIDENCE, NOW, SECOND, rollback
from .receiver import Receiver, receiving

ACME = alert_for(rollback(evidence=EVIDENCE), runbook="https://runbook")
ALL = alert_for(rollback())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def test_one_alert_has_alertmanagers_shape() -> None:
    assert payload([ACME], receiver="on-call", external_url="http://stoploss") == {
        "version": "4",
        "groupKey": '{}:{alertname="StoplossRollback", experiment="checkout"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "on-call",
        "groupLabels": {"alertname": "StoplossRollback", "experiment": "checkout"},
        "commonLabels": ACME.labels,
        "commonAnnotations": ACME.annotations,
        "externalURL": "http://stoploss",
        "alerts": [
            {
                "status": "firing",
                "labels": ACME.labels,
                "annotations": ACME.annotations,
                "startsAt": "2023-11-14T22:13:20.000000Z",
                "endsAt": NO_END,
                "generatorURL": "",
                "fingerprint": "cd9925c90872ada7",
            }
        ],
    }


def test_a_group_fires_until_its_last_alert_is_resolved() -> None:
    over = resolved(ALL, NOW + SECOND)
    assert payload([ACME, over], receiver="r")["status"] == "firing"
    assert payload([resolved(ACME, NOW + SECOND), over], receiver="r")["status"] == "resolved"
    assert payload([over], receiver="r")["alerts"][0]["endsAt"] == "2023-11-14T22:13:21.000000Z"


def test_only_what_all_alerts_say_is_common() -> None:
    """P2: of a segment it is said that it was stopped, without numbers, so the two summaries differ."""
    common = payload([ACME, ALL], receiver="r")
    assert common["commonLabels"] == ALL.labels
    assert common["commonAnnotations"] == {"run": "1"}


def test_quotes_in_a_group_are_escaped() -> None:
    assert group_key({"experiment": 'a"b\\c\nd'}) == '{}:{experiment="a\\"b\\\\c\\nd"}'


def test_each_experiment_is_posted_by_itself(receiver: Receiver) -> None:
    other = alert_for(rollback(experiment="search"))
    assert Webhook(Endpoint(receiver.url), receiver="on-call").post([ACME, other, ALL]).ok
    assert [(body["groupLabels"]["experiment"], len(body["alerts"])) for body in receiver.bodies] == [
        ("checkout", 2),
        ("search", 1),
    ]
    assert receiver.bodies[0] == payload([ACME, ALL], receiver="on-call")


def test_a_group_that_fails_fails_the_post(receiver: Receiver) -> None:
    receiver.answers = [400]
    posted = Webhook(Endpoint(receiver.url)).post([ACME])
    assert not posted.ok
    assert "answered 400" in posted.reason


def test_nothing_to_tell_is_posted_to_nobody(receiver: Receiver) -> None:
    assert Webhook(Endpoint(receiver.url)).post([]).ok
    assert receiver.bodies == []
