"""Which instances live, and what each ledger is told of it."""

from __future__ import annotations

from stoploss.awaited import Awaited
from stoploss.commands import Ack, AckStatus
from streams.presence import Presence

SILENT_S = 900.0


def ack(instance: str, status: AckStatus = AckStatus.ALIVE, controller: str = "flagd") -> Ack:
    return Ack("", "", 0, 0, controller, instance, status, "", 0)


def living(*instances: str, at_s: float = 0.0) -> Presence:
    presence = Presence(SILENT_S)
    for instance in instances:
        presence.heard(ack(instance), at_s)
    return presence


def news(presence: Presence, experiment: str = "checkout") -> list[tuple[str, str]]:
    return [(instance, status.value) for (_, instance), status in presence.news(experiment, ("flagd",))]


def test_each_ledger_is_told_of_each_instance_once() -> None:
    presence = living("a", "b")
    assert news(presence) == [("a", "alive"), ("b", "alive")]
    assert news(presence) == []
    assert news(presence, "search") == [("a", "alive"), ("b", "alive")]


def test_instances_of_controllers_that_an_experiment_does_not_require_are_not_told_to_it() -> None:
    presence = living("a")
    presence.heard(ack("g", controller="gateway"), 0.0)
    assert news(presence) == [("a", "alive")]


def test_one_that_leaves_is_told_as_gone_and_told_again_when_it_is_back() -> None:
    presence = living("a")
    news(presence)
    presence.heard(ack("a", AckStatus.LEFT), 1.0)
    assert news(presence) == [("a", "left")]
    presence.forget_gone()
    assert news(presence) == []
    presence.heard(ack("a"), 2.0)
    assert news(presence) == [("a", "alive")]


def test_one_that_was_silent_for_long_is_given_up() -> None:
    presence = living("a")
    presence.let_go(SILENT_S, [])
    assert presence.instances(("flagd",), SILENT_S) == {"flagd": ["a"]}
    presence.let_go(SILENT_S + 1, [])
    assert presence.instances(("flagd",), SILENT_S + 1) == {"flagd": []}
    assert news(presence) == [("a", "left")]


def test_one_that_a_command_waits_for_is_never_given_up() -> None:
    presence = living("a")
    presence.let_go(10 * SILENT_S, [Awaited({"flagd": ["a"]})])
    assert news(presence) == [("a", "alive")]


def test_a_courier_that_takes_over_knows_who_lived_when_a_command_was_issued() -> None:
    presence = living("dead", at_s=-1_000.0)
    assert presence.instances(("flagd",), -200.0) == {"flagd": ["dead"]}
    assert presence.instances(("flagd",), 0.0) == {"flagd": []}
