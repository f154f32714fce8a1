"""G2 while a run goes on: an approval that ends pauses it, and a condition that is narrowed holds at once."""

from __future__ import annotations

from stoploss.commands import Segment
from stoploss.lifecycle import Lifecycle
from tests.governance.institution import POLICY_TEXT, SPEC_TEXT, House, edited
from tests.timelines import SPEC, actions, bytes_of, refolded


def running(policy: str | None = POLICY_TEXT, text: str = SPEC_TEXT, **terms: object) -> House:
    house = House(text, policy).approved("product", "privacy", **terms)
    assert house.ask("start") is None
    return house


def ten_seconds(house: House, days: float = 0) -> None:
    house.days(days)
    house.timeline.seconds(11)


def test_an_approval_that_ends_pauses_the_run_and_pages() -> None:
    """G2"""
    house = running(valid_for="2d")
    ten_seconds(house, days=2)
    assert house.lifecycle == Lifecycle.PAUSED
    [pause] = house.timeline.commands[1:]
    assert (pause.action, pause.exposure, pause.expires_at) == ("pause", 0.0, None)
    assert "the approval of privacy-owner has expired" in pause.reason
    assert house.timeline.breaches[-1].severity == "page"


def test_who_approves_again_has_not_resumed() -> None:
    house = running(valid_for="2d")
    ten_seconds(house, days=2)
    for domain in ("product", "privacy"):
        house.ask("approve", by=f"{domain}-owner", domain=domain)
    ten_seconds(house)
    assert house.lifecycle == Lifecycle.PAUSED
    assert house.ask("resume") is None


def test_a_day_before_it_is_said_once() -> None:
    """G2"""
    house = running(valid_for="2d")
    ten_seconds(house)
    assert house.timeline.findings == []
    ten_seconds(house, days=1.5)
    ten_seconds(house)
    assert [(one.reason, one.severity) for one in house.timeline.findings] == [("approval_ends_soon", "hold")] * 2
    assert "the approval of privacy-owner for privacy ends in 12 hours" in house.timeline.findings[1].sentence
    assert house.lifecycle == Lifecycle.RUNNING


def test_one_that_is_given_again_in_time_keeps_the_run() -> None:
    house = running(valid_for="2d")
    house.days(1.5)
    for domain in ("product", "privacy"):
        house.ask("approve", by=f"{domain}-owner", domain=domain, valid_for="9d")
    ten_seconds(house, days=1)
    assert house.lifecycle == Lifecycle.RUNNING


def test_one_that_ends_where_another_of_its_domain_stands_ends_nothing() -> None:
    house = running()
    house.ask("approve", by="pia", domain="privacy", valid_for="1d")
    ten_seconds(house, days=2)
    assert house.lifecycle == Lifecycle.RUNNING


def test_a_rejection_pauses_what_runs() -> None:
    """G2: an approver takes the word back."""
    house = running()
    house.ask("reject", by="privacy-owner", domain="privacy", reason="a new reading of the law")
    ten_seconds(house)
    assert house.lifecycle == Lifecycle.PAUSED
    assert "privacy-owner has rejected it for privacy: a new reading of the law" in house.timeline.commands[-1].reason


def test_a_policy_that_asks_for_more_leaves_what_runs() -> None:
    house = running()
    stricter = edited(("product: 1, privacy: 1}", "product: 1, privacy: 2}"), text=POLICY_TEXT)
    house.put_in_force(stricter, source="uuid/0/2")
    ten_seconds(house)
    assert house.lifecycle == Lifecycle.RUNNING
    assert "1 of 2 have approved for privacy" in (house.ask("ramp") or "")


def test_without_a_policy_no_approval_has_to_stand() -> None:
    house = running(policy=None, text=SPEC, valid_for="1d")
    ten_seconds(house, days=2)
    assert house.lifecycle == Lifecycle.RUNNING


def test_a_share_that_is_narrowed_is_lowered_at_once() -> None:
    """G2"""
    house = running(policy=None, text=SPEC)
    house.ask("approve", by="privacy-owner", domain="privacy", largest_exposure=0.1)
    ten_seconds(house)
    [throttle] = house.timeline.commands[1:]
    assert (throttle.action, throttle.exposure) == ("throttle", 0.1)
    assert throttle.reason == "throttle 'checkout': 0.5 of the traffic is more than is approved: at most 0.1"


def test_a_segment_that_is_left_out_is_left_out_at_once() -> None:
    """G2"""
    house = running(policy=None, text=SPEC + "  segments: [tenant]\n")
    house.ask("approve", by="privacy-owner", domain="privacy", excluded=[{"dimension": "tenant", "value": "acme"}])
    ten_seconds(house)
    ten_seconds(house)
    assert actions(house.timeline) == ["set_exposure", "stop_segment"]
    assert house.timeline.commands[-1].stopped_segments == (Segment("tenant", "acme"),)


def test_a_replay_pauses_where_it_was_paused() -> None:
    house = running(valid_for="2d")
    ten_seconds(house, days=2)
    assert bytes_of(refolded(house.timeline.entries)) == bytes_of(house.timeline.outputs)
