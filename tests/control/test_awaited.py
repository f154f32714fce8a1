"""Who has to apply a command, and when it counts as applied."""

from __future__ import annotations

from stoploss.awaited import Awaited


def test_every_living_instance_of_every_controller_has_to() -> None:
    awaited = Awaited.of(("flagd", "gateway"), {"flagd": ["a", "b"], "gateway": ["g"]})
    for controller, instance in (("flagd", "a"), ("gateway", "g")):
        awaited.applied_by(controller, instance)
    assert awaited.named() == [("flagd", "b")]
    awaited.applied_by("flagd", "b")
    assert not awaited


def test_where_no_instance_is_known_any_will_do() -> None:
    awaited = Awaited.of(("flagd",), {})
    assert awaited.named() == [("flagd", "")]
    awaited.applied_by("flagd", "whoever")
    assert not awaited


def test_an_instance_that_nobody_knew_settles_nothing_for_the_others() -> None:
    awaited = Awaited.of(("flagd",), {"flagd": ["a"]})
    awaited.applied_by("flagd", "new")
    assert awaited.named() == [("flagd", "a")]


def test_one_that_appears_meanwhile_has_to_apply_it_unless_it_has() -> None:
    awaited = Awaited.of(("flagd",), {"flagd": ["a"]})
    awaited.applied_by("flagd", "early")
    awaited.alive("flagd", "early")
    awaited.alive("flagd", "late")
    assert awaited.named() == [("flagd", "a"), ("flagd", "late")]


def test_one_that_leaves_in_order_is_waited_for_no_more() -> None:
    awaited = Awaited.of(("flagd",), {"flagd": ["a", "b"]})
    awaited.applied_by("flagd", "a")
    awaited.left("flagd", "b")
    assert not awaited


def test_when_all_have_left_and_none_has_applied_it_the_controller_is_still_awaited() -> None:
    awaited = Awaited.of(("flagd",), {"flagd": ["a"]})
    awaited.left("flagd", "a")
    assert awaited.named() == [("flagd", "")]


def test_a_stranger_changes_nothing() -> None:
    awaited = Awaited.of(("flagd",), {"flagd": ["a"]})
    awaited.applied_by("stranger", "a")
    awaited.alive("stranger", "a")
    awaited.left("stranger", "a")
    assert awaited == Awaited({"flagd": ["a"]})
