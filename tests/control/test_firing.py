"""What fires and what is over, whichever of commands and journal is read first."""

from __future__ import annotations

from dataclasses import replace

from stoploss.commands import Action
from stoploss.control.alerts import BLIND, Alert, alert_for
from stoploss.control.firing import End, Firing
from tests.control.orders import NOW, order, rollback

HARM = alert_for(rollback())
OTHERS = alert_for(rollback(experiment="other"))


def told(alerts: list[Alert]) -> list[tuple[str, str]]:
    return [(alert.experiment, alert.status) for alert in alerts]


def test_what_a_person_has_ended_is_not_told_when_it_is_read_late() -> None:
    firing = Firing()
    firing.take([End("checkout", NOW + 1)])
    assert firing.take([HARM, OTHERS]) == [OTHERS]


def test_an_end_that_is_read_late_ends_nothing_newer() -> None:
    firing = Firing()
    firing.take([replace(HARM, starts_at=NOW + 2)])
    assert firing.take([End("checkout", NOW + 1)]) == []
    assert told(firing.take([End("checkout", NOW + 3)])) == [("checkout", "resolved")]


def test_harm_in_the_moment_of_a_resume_fires_on() -> None:
    for news in ([HARM, End("checkout", NOW)], [End("checkout", NOW), HARM]):
        firing = Firing()
        assert told(firing.take(news)) == [("checkout", "firing")]
        assert list(firing.alerts.values()) == [HARM]


def test_an_end_of_one_name_leaves_the_rest_and_what_comes_later() -> None:
    firing, blind = Firing(), replace(HARM, alertname=BLIND)
    firing.take([HARM, blind])
    assert [alert.alertname for alert in firing.take([End("checkout", NOW + 1, BLIND)])] == [BLIND]
    assert firing.take([blind]) == [blind]


def test_who_takes_over_tells_what_fires_and_ends_what_the_former_knew_to_be_over() -> None:
    firing, former = Firing(), Firing()
    firing.take([HARM])
    former.take([alert_for(order(Action.PAUSE, 2)), End("checkout", NOW + 1), OTHERS])
    assert told(firing.join(former)) == [("checkout", "resolved"), ("other", "firing")]
    assert firing.join(former) == []
