"""X4: high-risk experiments run inside windows only; when they close exposure goes to the safe share, and returns."""

from __future__ import annotations

import re

import pytest

from stoploss.commands import Command
from stoploss.errors import InvalidExperiment
from stoploss.journal import CommandIssued, EpochOpened
from stoploss.lifecycle import Lifecycle
from stoploss.spec.file import parse_experiment
from tests.governance.institution import House
from tests.timelines import Timeline, actions, bytes_of, refolded, spec, traces, with_gate

HOUR = 1 / 24
INSIDE = 'windows: [{days: Mon-Fri, from: "09:00", to: "17:00", timezone: Europe/Berlin}]'
SAFE = f"{INSIDE}\nsafeShare: 0.0"
POLICY = """
apiVersion: stoploss/v1alpha1
kind: Policy
metadata: {name: hours, owner: board}
spec:
  defaultRisk: high
  freezes: [{from: 2026-12-20, to: 2027-01-03, timezone: Europe/Berlin, reason: nobody is there}]
  riskClasses:
    low: {}
    high:
      windows: [{days: Mon-Fri, from: "09:00", to: "17:00", timezone: Europe/Berlin}]
      runsOnlyInside: true
"""


def running(text: str, policy: str | None = None) -> House:
    """Started on a Monday at 16:13 in Berlin, and applied at once: no controller is required."""
    house = House(text, policy)
    house.ask("register")
    assert house.ask("start") is None
    house.timeline.seconds(1)
    return house


def after(house: House, days: float) -> list[Command]:
    """What is ordered when so much time has passed."""
    before = len(house.timeline.commands)
    house.days(days)
    house.timeline.seconds(1)
    return house.timeline.commands[before:]


def evening(house: House) -> list[Command]:
    return after(house, HOUR)


def next_morning(house: House) -> list[Command]:
    """From an hour after the start: Tuesday at 11:13."""
    return after(house, 18 * HOUR)


def test_when_the_windows_close_the_exposure_goes_to_nothing_and_the_run_goes_on() -> None:
    """X4"""
    house = running(spec(SAFE))
    [closing] = evening(house)
    assert (closing.action, closing.exposure, closing.run, closing.expires_at) == ("throttle", 0.0, 1, None)
    assert closing.reason == (
        "throttle 'checkout': the windows of the spec are closed: Mon-Fri 09:00 to 17:00 Europe/Berlin: "
        "exposure goes from 0.5 to 0 until they open"
    )
    assert house.lifecycle == Lifecycle.RUNNING
    assert after(house, HOUR) == []


def test_when_they_open_it_returns_in_a_new_epoch_of_the_same_run() -> None:
    """X4: the raise expires like every other."""
    house = running(spec(SAFE))
    house.timeline.traces(traces(300, seed=1))
    seen = house.timeline.it.current
    evening(house)
    [opening] = next_morning(house)
    assert (opening.action, opening.exposure, opening.run, opening.epoch) == ("set_exposure", 0.5, 1, 3)
    assert opening.expires_at is not None
    assert [one.epoch for one in house.timeline.said(EpochOpened)] == [1, 3]
    assert house.timeline.it.current is seen, "what was seen is kept"


def test_the_spec_declares_what_the_treatment_keeps() -> None:
    """X4"""
    house = running(spec(f"{INSIDE}\nsafeShare: 0.01"))
    assert [one.exposure for one in evening(house)] == [0.01]
    assert [one.exposure for one in next_morning(house)] == [0.5]


def test_windows_without_a_safe_share_stop_raises_alone() -> None:
    house = running(spec(INSIDE))
    assert evening(house) == []
    assert house.ask("ramp", exposure=0.6) == (
        "exposure is raised inside the windows of the spec only: Mon-Fri 09:00 to 17:00 Europe/Berlin"
    )
    assert house.ask("ramp", exposure=0.1) is None


def test_a_class_that_runs_only_inside_needs_no_word_of_the_spec() -> None:
    """X4: the policy's windows, the default safe share."""
    house = running(spec(), POLICY)
    [closing] = evening(house)
    assert closing.exposure == 0
    assert "the windows of the policy are closed" in closing.reason
    assert house.ask("resume") is not None
    assert [one.exposure for one in next_morning(house)] == [0.5]


def test_another_class_of_the_same_policy_runs_at_night() -> None:
    low = spec().replace("owner: search-team}", "owner: search-team, labels: {risk: low}}")
    assert evening(running(low, POLICY)) == []


def test_the_weekend_is_no_window_and_a_week_later_the_clocks_may_have_changed() -> None:
    """X4: 2026-10-25 is the end of summer time in Berlin; the windows follow the clock on the wall."""
    house = running(spec(SAFE))
    house.timeline.at = 1_793_000_000_000_000  # Monday, 2026-10-26 07:33:20 UTC: 08:33 in winter, 09:33 in summer
    assert [one.exposure for one in after(house, 0)] == [0.0]
    assert [one.exposure for one in after(house, HOUR / 2)] == [0.5]


def test_what_was_held_meanwhile_does_not_return_by_itself() -> None:
    house = running(spec(SAFE))
    evening(house)
    some = traces(20, seed=2)
    house.timeline.traces(with_gate(some, int((some.variant == 0).argmax()), 0))  # in control: the run is held
    assert house.lifecycle == Lifecycle.HOLDING
    assert next_morning(house) == []


def test_what_harms_at_night_is_stopped_and_does_not_return() -> None:
    house = running(spec(SAFE))
    evening(house)
    some = traces(20, seed=2)
    house.timeline.traces(with_gate(some, int(some.variant.argmax()), 0))
    assert house.lifecycle == Lifecycle.STOPPED
    assert next_morning(house) == []


def test_a_person_who_wants_less_gets_less_when_the_windows_open() -> None:
    house = running(spec(f"{INSIDE}\nsafeShare: 0.1"))
    evening(house)
    assert house.ask("ramp", exposure=0.05) is None
    assert next_morning(house) == []
    assert house.timeline.it.desired.exposure == 0.05


def test_a_budget_that_burns_at_night_is_throttled_the_morning_after() -> None:
    budget = (
        "budgets: [{metric: cost_usd, limit: 0.5, period: 1d, actions: [{burn: 0.1, do: throttle, to: 0.2}]}]\n" + SAFE
    )
    house = running(spec(budget))
    evening(house)
    for second in range(30):
        house.timeline.seconds(1)
        house.timeline.traces(traces(200, seed=second, cost_usd=0.5))
    assert any(finding.evidence.rule == "budget" for finding in house.timeline.breaches)
    assert house.timeline.it.desired.exposure == 0, "there is nothing to lower"
    assert [one.exposure for one in next_morning(house)] == [0.2]


def test_on_a_frozen_day_nothing_is_raised_and_nothing_returns() -> None:
    """X4: the return waits, and says so once."""
    frozen = "freezes: [{from: 2026-09-22, to: 2026-09-22, timezone: Europe/Berlin, reason: elections}]"
    house = running(spec(f"{SAFE}\n{frozen}"))
    evening(house)
    assert next_morning(house) == []
    house.timeline.seconds(3)
    waits = [finding for finding in house.timeline.findings if finding.reason == "return_waits"]
    assert [one.sentence for one in waits] == [
        "the windows are open, but nothing is raised from 2026-09-22 to 2026-09-22 Europe/Berlin: elections: "
        "exposure stays at 0"
    ]
    assert [one.exposure for one in after(house, 1)] == [0.5]


def test_a_freeze_of_the_policy_holds_for_everybody_and_lowers_nothing() -> None:
    low = spec().replace("owner: search-team}", "owner: search-team, labels: {risk: low}}")
    house = running(low, POLICY)
    assert after(house, 95) == []
    assert house.ask("ramp", exposure=0.6) == (
        "nothing is raised from 2026-12-20 to 2027-01-03 Europe/Berlin: nobody is there"
    )


def test_a_return_that_is_more_than_is_approved_waits_for_a_person() -> None:
    house = running(spec(SAFE))
    evening(house)
    house.ask("approve", by="pia", domain="privacy", largest_exposure=0.2)
    assert next_morning(house) == []
    assert "0.5 of the traffic is more than is approved" in house.timeline.findings[-1].sentence
    assert house.ask("ramp", exposure=0.2) is None
    assert after(house, 0) == []


def test_a_new_run_knows_nothing_of_the_closing_before() -> None:
    house = running(spec(SAFE))
    evening(house)
    house.ask("pause")
    assert house.ask("resume") is not None
    assert next_morning(house) == []
    assert house.ask("resume", exposure=0.1) is None
    assert after(house, 0) == []
    assert house.timeline.it.desired.exposure == 0.1


def test_a_replay_closes_and_opens_at_the_same_entries() -> None:
    house = running(spec(SAFE))
    evening(house)
    next_morning(house)
    assert bytes_of(refolded(house.timeline.entries)) == bytes_of(house.timeline.outputs)
    assert actions(house.timeline) == ["set_exposure", "throttle", "set_exposure"]


def test_every_order_of_the_windows_names_its_finding() -> None:
    timeline: Timeline = running(spec(SAFE)).timeline
    timeline.at += 3_600_000_000
    timeline.seconds(1)
    [*_, closing] = timeline.commands
    assert closing.evidence is not None
    assert closing.evidence.rule == "windows"
    assert len(closing.evidence.journal_ids) == 1
    assert timeline.said(CommandIssued)[-1].command_id == closing.command_id


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("windows: [{days: Mo-Fr, from: '09:00', to: '17:00'}]", "spec.windows[0]: 'Mo-Fr' are no days"),
        ("windows: [{days: Mon, from: '09:00', to: '17:00', timezone: CET+1}]", "'CET+1' is no time zone"),
        ("freezes: [{from: 2026-12-24, to: 2026-12-20, reason: x}]", "spec.freezes[0]: it ends on 2026-12-20, before"),
        ("freezes: [{from: 2026-12-24, to: 2026-12-26}]", "spec.freezes[0].reason: is required"),
        (f"{INSIDE}\nsafeShare: 0.5", "spec.safeShare: 0.5 is no less than the last stage"),
    ],
)
def test_hours_that_cannot_be_meant_are_refused(lines: str, why: str) -> None:
    with pytest.raises(InvalidExperiment, match=re.escape(why)):
        parse_experiment(spec(lines))
