"""A rollout of what runs: nothing changes for those who are served, and whoever could stop a run can stop it."""

from __future__ import annotations

import pytest

from stoploss.journal import ExposuresCounted, MonitorBlind, RequestHandled
from stoploss.leases import LeasedRun
from stoploss.lifecycle import FREEZE, Lifecycle
from stoploss.review.overview import status_of
from stoploss.review.words import moment
from stoploss.sight import STATUS_TICKS
from tests.governance.institution import DAY, House
from tests.governance.test_freeze import told
from tests.governance.test_hours import SAFE, evening, next_morning
from tests.governance.test_hours import running as in_windows
from tests.governance.test_lapsing import running as approved
from tests.governance.test_lapsing import ten_seconds
from tests.test_blind import QUICK, only_ticks
from tests.test_leases import canary, leases_in
from tests.test_ramping import busy, ramp, said
from tests.test_spending import BUDGET, costing, under
from tests.test_spending import said as spent
from tests.timelines import SPEC, Timeline, actions, bytes_of, refolded, spec, traces, with_gate

ROLLOUT = '{"decision": "rollout"}'
WATCHED = SPEC.replace("{stages: [0.5]}", "{stages: [1], watch: 20s}")


def completed(timeline: Timeline, decision: str = "rollout") -> str | None:
    """Why it is refused; None where it is not."""
    timeline.ask("complete", reason="as good, and cheaper", body=f'{{"decision": "{decision}"}}')
    handled = timeline.said(RequestHandled)[-1]
    return None if handled.accepted else handled.reason


def adopted(text: str = SPEC) -> Timeline:
    timeline = Timeline(text).started()
    timeline.seconds(1)
    assert completed(timeline) is None
    return timeline


# ---- what changes, and what does not ---------------------------------------------------------------


def test_it_orders_nothing_and_the_treatment_stays_where_it_is() -> None:
    timeline = adopted()
    assert (timeline.it.lifecycle, timeline.it.epoch_open, actions(timeline)) == ("adopted", True, ["set_exposure"])
    entry = timeline.registry()[-1]
    assert entry.completion is not None
    assert (entry.lifecycle, entry.exposure, entry.completion.decision) == ("adopted", 0.5, "rollout")
    assert timeline.said(RequestHandled)[-1].reason == (
        "rollout, recommended was nothing, stays served at 0.5 of the traffic: as good, and cheaper"
    )


@pytest.mark.parametrize("decision", ["iterate", "rollback"])
def test_another_decision_is_refused_while_it_is_served_and_says_how_to_take_it_away(decision: str) -> None:
    timeline = Timeline().started()
    assert completed(timeline, decision) == (
        f"the treatment is served, and the decision is {decision}: `stoploss rollback checkout` or "
        "`stoploss stop checkout` takes it away; complete it then"
    )
    timeline.ask("rollback")
    assert completed(timeline, decision) is None
    assert timeline.it.lifecycle == Lifecycle.COMPLETED


def test_what_harm_in_control_has_held_can_be_rolled_out() -> None:
    timeline = Timeline().started()
    some = traces(10, seed=1)
    timeline.traces(with_gate(some, int((some.variant == 0).argmax()), 0))
    assert timeline.it.lifecycle == Lifecycle.HOLDING
    assert completed(timeline) is None
    assert timeline.it.lifecycle == Lifecycle.ADOPTED


def test_where_nobody_gets_it_nothing_can_be_left_as_it_is() -> None:
    throttled = "{metric: cost_usd, limit: 1, period: 10m, actions: [{burn: 1, do: throttle, to: 0}]}"
    timeline = Timeline(spec(f"budgets: [{throttled}]")).started()
    timeline.traces(traces(400, seed=1))
    timeline.seconds(1)
    assert (timeline.it.lifecycle, timeline.it.desired.exposure) == ("running", 0.0)
    assert (completed(timeline) or "").startswith("nobody gets the treatment, so there is nothing to leave as it is")


def test_the_ramp_climbs_no_further_and_says_nothing_more_of_its_stage() -> None:
    """R1"""
    timeline = Timeline(ramp()).started()
    busy(timeline, 15, n=5)
    assert timeline.registry()[-1].ramp is not None
    assert completed(timeline) is None
    assert timeline.registry()[-1].ramp is None
    assert busy(timeline, 40) == []
    timeline.ask("ramp")
    assert not timeline.said(RequestHandled)[-1].accepted


def test_full_exposure_is_watched_for_as_long_as_was_promised() -> None:
    """R1: to complete it ends no watch."""
    timeline = Timeline(WATCHED).started()
    busy(timeline, 5)
    assert completed(timeline) is None
    assert timeline.registry()[-1].ramp == "'small' has all of the traffic and is watched for 20 s"
    busy(timeline, 25)
    [words] = said(timeline, "watch_over")
    assert words.endswith("nothing speaks against it. The watch is over, and goes on while it is served")


# ---- who can stop it -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "after"),
    [("stop", "stopped"), ("rollback", "rolled_back"), ("pause", "paused"), ("break_glass", "stopped")],
)
def test_people_take_it_away_and_what_is_served_later_is_counted(action: str, after: str) -> None:
    timeline = adopted()
    timeline.seconds(1)
    timeline.ask(action, by="olga", reason="users complain")
    assert (timeline.it.lifecycle, timeline.commands[-1].exposure) == (after, 0.0)
    timeline.seconds(1)
    timeline.traces(traces(40, seed=3))
    timeline.seconds(3)
    assert timeline.said(ExposuresCounted)[-1].after_stop > 0


def test_a_gate_stops_it_long_after_the_watch_is_over() -> None:
    timeline = adopted(WATCHED)
    timeline.at += 90 * DAY
    busy(timeline, 25)
    timeline.traces(with_gate(traces(20, seed=9, share=1.0), 3, 0))
    assert (timeline.it.lifecycle, actions(timeline)[-1]) == ("stopped", "stop")


def test_harm_that_shows_later_rolls_it_back() -> None:
    guardrail = "{metric: error_rate, direction: lower, margin: {relative: 0.1}, action: rollback}"
    timeline = adopted(spec(f"guardrails: [{guardrail}]"))
    for second in range(20):
        timeline.traces(traces(300, seed=second, users=20_000, error_rate=(0.02, 0.3)))
        timeline.seconds(1)
    assert timeline.it.lifecycle == Lifecycle.ROLLED_BACK


def test_a_monitor_that_does_not_see_it_pauses_it() -> None:
    timeline = adopted(spec(QUICK))
    only_ticks(timeline, STATUS_TICKS + 10)
    assert timeline.said(MonitorBlind) != []
    assert timeline.it.lifecycle == Lifecycle.ADOPTED, "its exposure is frozen already"
    only_ticks(timeline, 20)
    assert timeline.it.lifecycle == Lifecycle.PAUSED


def test_its_services_go_on_to_hear_a_lease_until_it_is_stopped() -> None:
    timeline = adopted()
    [lease] = leases_in(timeline.append(canary(timeline)))
    assert lease.experiments == (LeasedRun("checkout", 1),)
    timeline.ask("stop")
    assert leases_in(timeline.append(canary(timeline))) == []


def test_the_stop_of_the_line_pauses_it() -> None:
    """X3"""
    timeline = adopted()
    told(timeline, FREEZE, 5)
    assert timeline.it.lifecycle == Lifecycle.PAUSED


# ---- what people have allowed ----------------------------------------------------------------------


def test_an_approval_that_ends_pauses_it_and_one_that_is_given_anew_keeps_it() -> None:
    """G2"""
    for again in (False, True):
        house = approved(valid_for="2d")
        assert house.ask("complete", decision="rollout") is None
        for domain in ("product", "privacy") if again else ():
            assert house.ask("approve", by=f"{domain}-owner", domain=domain) is None
        ten_seconds(house, days=3)
        assert house.lifecycle == (Lifecycle.ADOPTED if again else Lifecycle.PAUSED)


def test_windows_close_and_open_for_it_as_for_a_run() -> None:
    """X4: and while they have lowered it to nothing it is watched, and can be stopped."""
    house = in_windows(spec(SAFE))
    assert house.ask("complete", decision="rollout") is None
    assert [one.exposure for one in evening(house)] == [0.0]
    assert house.lifecycle == Lifecycle.ADOPTED
    assert [one.exposure for one in next_morning(house)] == [0.5]


def test_at_night_it_can_be_rolled_out_at_what_it_returns_to() -> None:
    """X4"""
    house = in_windows(spec(SAFE))
    evening(house)
    assert house.ask("complete", decision="rollout") is None
    assert [one.exposure for one in next_morning(house)] == [0.5]


def test_what_it_costs_is_on_no_budget_of_experiments_any_more() -> None:
    """R5"""
    timeline = under(BUDGET)
    timeline.traces(costing(3))
    timeline.seconds(1)
    assert completed(timeline) is None
    timeline.traces(costing(5))
    timeline.seconds(100)
    assert spent(timeline) == [3.0]


# ---- what follows ----------------------------------------------------------------------------------


def test_its_review_is_due_until_somebody_else_has_held_it_and_it_stays_served() -> None:
    """G7"""
    house = House(SPEC, policy=None)
    house.ask("register")
    house.ask("start")
    house.ask("complete", decision="rollout")
    today = moment(house.timeline.at).date()
    assert status_of(house.timeline.registry()[-1], today).due[0].startswith("the post-implementation review is due")
    assert house.ask("reviewed") == "ada has completed the experiment; a review is somebody else's"
    assert house.ask("reviewed", by="bob") is None
    entry = house.timeline.registry()[-1]
    assert (entry.lifecycle, entry.exposure, status_of(entry, today).due) == ("adopted", 0.5, ())
    assert house.ask("stop") is None


def test_a_new_run_of_what_was_taken_away_is_not_decided_on_yet() -> None:
    timeline = adopted()
    timeline.ask("stop")
    assert timeline.registry()[-1].completion is not None, "people see what had been decided"
    timeline.ask("resume", exposure=0.1)
    assert (timeline.registry()[-1].completion, timeline.it.run) == (None, 2)


def test_what_was_taken_away_can_be_completed_for_good() -> None:
    """Once no code asks the flag any more."""
    timeline = adopted()
    timeline.ask("stop")
    assert completed(timeline) is None
    assert timeline.it.lifecycle == Lifecycle.COMPLETED


def test_a_replay_adopts_and_stops_at_the_same_entries() -> None:
    timeline = adopted(WATCHED)
    busy(timeline, 10)
    timeline.append(canary(timeline))
    timeline.ask("reviewed", by="bob")
    timeline.ask("stop")
    timeline.seconds(2)
    assert bytes_of(refolded(timeline.entries)) == bytes_of(timeline.outputs)
