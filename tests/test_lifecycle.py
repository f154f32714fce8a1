from __future__ import annotations

from itertools import product

import pytest

from stoploss.commands import Action
from stoploss.journal import RequestHandled
from stoploss.lifecycle import AFTER, ENDED, LATCHED, LIVE, REQUESTS, Lifecycle, refusal, strengthens
from tests.timelines import Timeline, actions, spec, traces, with_gate

REGISTERED, APPROVED, RUNNING, HOLDING, PAUSED, STOPPED, ROLLED_BACK, ADOPTED, COMPLETED, REVIEWED = Lifecycle

# The whole table: what a person may ask for in each state, and where it leads.
ALLOWED: dict[tuple[Lifecycle, str], Lifecycle] = {
    **{(state, "note"): state for state in Lifecycle},
    **{(state, "register"): state for state in Lifecycle if state not in ENDED},
    **{(state, "approve"): state for state in (RUNNING, HOLDING, PAUSED, STOPPED, ROLLED_BACK, ADOPTED)},
    **{(state, "reject"): state for state in (RUNNING, HOLDING, PAUSED, STOPPED, ROLLED_BACK, ADOPTED)},
    **{(state, "amend"): REGISTERED for state in (REGISTERED, APPROVED, STOPPED, ROLLED_BACK)},
    **{(state, "rehearse"): state for state in (REGISTERED, APPROVED)},
    **{(state, "complete"): ADOPTED for state in (RUNNING, HOLDING)},
    **{(state, "complete"): COMPLETED for state in (PAUSED, STOPPED, ROLLED_BACK)},
    (ADOPTED, "pause"): PAUSED,
    (ADOPTED, "stop"): STOPPED,
    (ADOPTED, "rollback"): ROLLED_BACK,
    (ADOPTED, "reviewed"): ADOPTED,
    (REGISTERED, "approve"): APPROVED,
    (APPROVED, "approve"): APPROVED,
    (REGISTERED, "reject"): REGISTERED,
    (APPROVED, "reject"): REGISTERED,
    (APPROVED, "start"): RUNNING,
    (RUNNING, "ramp"): RUNNING,
    (COMPLETED, "reviewed"): REVIEWED,
    (REGISTERED, "start"): RUNNING,
    (RUNNING, "pause"): PAUSED,
    (RUNNING, "stop"): STOPPED,
    (RUNNING, "rollback"): ROLLED_BACK,
    (HOLDING, "pause"): PAUSED,
    (HOLDING, "resume"): RUNNING,
    (HOLDING, "stop"): STOPPED,
    (HOLDING, "rollback"): ROLLED_BACK,
    (PAUSED, "resume"): RUNNING,
    (PAUSED, "stop"): STOPPED,
    (PAUSED, "rollback"): ROLLED_BACK,
    (STOPPED, "resume"): RUNNING,
    (ROLLED_BACK, "resume"): RUNNING,
}


OTHER_SPEC = spec("guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.1}}]")
ORDERS = {"rehearse", "start", "ramp", "pause", "resume", "stop", "rollback"}
NEW_RUN = {"start", "resume"}


def demand(timeline: Timeline, action: str) -> None:
    """A request with everything that it needs to be refused by the table alone."""
    bodies = {
        "approve": '{"domain": "product"}',
        "reject": '{"domain": "product"}',
        "complete": '{"decision": "rollout"}',
    }
    decides = action in (*bodies, "reviewed", "note", "amend")
    if action == "amend":
        timeline.spec_text = OTHER_SPEC
    timeline.ask(
        action,
        0.7 if action == "ramp" else None,
        by="bob" if action in ("approve", "reject", "reviewed") else "ada",
        reason="because" if decides else "",
        body=bodies.get(action),
    )


def standing(state: Lifecycle) -> Timeline:
    """An experiment that got into a state by the shortest way."""
    timeline = Timeline()
    if state in (REGISTERED, APPROVED):
        timeline.ask("register")
        if state == APPROVED:
            demand(timeline, "approve")
        return timeline
    timeline.started()
    ways = {PAUSED: ["pause"], STOPPED: ["stop"], ROLLED_BACK: ["rollback"]}
    ways |= {COMPLETED: ["stop", "complete"], REVIEWED: ["stop", "complete", "reviewed"], ADOPTED: ["complete"]}
    for action in ways.get(state, []):
        demand(timeline, action)
    if state == HOLDING:
        some = traces(10, seed=1)
        in_control = int((some.variant == 0).argmax())
        timeline.traces(with_gate(some, in_control, 0))
    assert timeline.it.lifecycle == state
    return timeline


@pytest.mark.parametrize(("state", "action"), list(product(Lifecycle, REQUESTS)))
def test_each_request_in_each_state_does_what_the_table_says(state: Lifecycle, action: str) -> None:
    timeline = standing(state)
    before, commands = timeline.it.run, len(timeline.commands)
    demand(timeline, action)
    handled = timeline.said(RequestHandled)[-1]
    expected = ALLOWED.get((state, action))
    assert (handled.action, handled.accepted) == (action, expected is not None)
    assert timeline.it.lifecycle == (expected or state)
    assert timeline.it.run - before == (1 if expected is not None and action in NEW_RUN else 0)
    assert len(timeline.commands) - commands == (1 if expected is not None and action in ORDERS else 0)


@pytest.mark.parametrize(("state", "action"), [pair for pair in product(Lifecycle, REQUESTS) if pair not in ALLOWED])
def test_a_refusal_names_the_state_and_what_is_allowed_in_it(state: Lifecycle, action: str) -> None:
    why = refusal(action, state)
    assert why is not None
    assert why.startswith(f"{action} is not allowed while the experiment is {state}; allowed now: ")
    for name in REQUESTS.keys() - {"register"}:
        assert (name in why.split("allowed now: ")[1].split(", ")) == ((state, name) in ALLOWED)


def test_an_unknown_action_is_refused_with_the_known_ones() -> None:
    assert refusal("launch", RUNNING) == f"unknown action 'launch'; known actions: {', '.join(REQUESTS)}"


@pytest.mark.parametrize("action", [action for action in REQUESTS if action != "register"])
def test_nothing_but_a_registration_is_accepted_before_one(action: str) -> None:
    assert "not registered" in (refusal(action, None) or "")
    timeline = Timeline()
    assert timeline.ask(action) == []
    assert timeline.state.experiments == {}


def test_what_the_registrar_refused_is_not_done_and_its_reason_is_kept() -> None:
    timeline = standing(REGISTERED)
    timeline.ask("start", accepted=False)
    assert timeline.it.lifecycle == REGISTERED
    assert timeline.said(RequestHandled)[-1].reason == "not allowed here"


@pytest.mark.parametrize(("action", "state"), list(product(AFTER, sorted(LIVE | {PAUSED}))))
def test_an_automatic_action_goes_only_from_weaker_to_stronger(action: Action, state: Lifecycle) -> None:
    order = [RUNNING, HOLDING, ADOPTED, PAUSED, ROLLED_BACK, STOPPED]
    assert strengthens(action, state) == (order.index(AFTER[action]) > order.index(state))


@pytest.mark.parametrize("action", [Action.THROTTLE, Action.STOP_SEGMENT])
def test_throttles_and_segment_stops_are_for_live_runs_only(action: Action) -> None:
    assert {state for state in Lifecycle if strengthens(action, state)} == LIVE


@pytest.mark.parametrize("action", list(Action))
def test_no_automatic_action_leaves_a_latched_state_or_one_before_the_start(action: Action) -> None:
    assert not strengthens(action, REGISTERED)
    for state in LATCHED:
        assert AFTER.get(action, RUNNING) == STOPPED or not strengthens(action, state)


def test_a_stop_latches_through_later_evidence_and_time() -> None:
    timeline = standing(STOPPED)
    said = len(timeline.commands)
    timeline.traces(with_gate(traces(500, seed=2, error_rate=(0.0, 0.9)), 3, 0))
    timeline.seconds(30)
    assert timeline.it.lifecycle == STOPPED
    assert len(timeline.commands) == said


def test_only_a_resume_opens_a_new_run_and_it_begins_with_fresh_rules() -> None:
    timeline = Timeline(spec("guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.1}}]")).started()
    timeline.traces(with_gate(traces(100, seed=3), int((traces(100, seed=3).variant == 1).argmax()), 0))
    assert timeline.it.lifecycle == STOPPED
    timeline.ask("resume", exposure=0.1)
    assert (timeline.it.run, timeline.it.lifecycle) == (2, RUNNING)
    assert timeline.it.desired.exposure == 0.1
    timeline.traces(traces(100, seed=4))
    timeline.seconds(1)
    assert actions(timeline) == ["set_exposure", "stop", "set_exposure"]


def test_an_amendment_after_a_stop_puts_another_spec_in_force_and_waits_for_a_start() -> None:
    timeline = standing(STOPPED)
    timeline.spec_text = spec("segments: [tenant]")
    timeline.ask("amend", reason="by tenant")
    assert timeline.it.lifecycle == REGISTERED
    assert timeline.it.experiment.spec.segments == ("tenant",)
    assert timeline.registry()[-1].spec == timeline.spec_text
    timeline.traces(with_gate(traces(50, seed=5), 3, 0))
    timeline.seconds(1)
    assert timeline.findings == []


def test_a_running_experiment_keeps_its_spec() -> None:
    timeline = standing(RUNNING)
    timeline.spec_text = spec("segments: [tenant]")
    timeline.ask("register")
    assert timeline.it.experiment.spec.segments == ()


def test_a_gate_after_an_amendment_and_before_its_start_is_not_judged() -> None:
    """The old run's rules must not speak for a run that has not begun."""
    timeline = standing(STOPPED)
    demand(timeline, "amend")
    timeline.traces(with_gate(traces(50, seed=5), 3, 0), spec_hash=timeline.it.spec_hash)
    timeline.seconds(1)
    assert timeline.findings == []
    assert timeline.it.refused == {"not started": 50}


def test_a_pause_keeps_what_was_seen_and_a_resume_goes_on_from_it() -> None:
    """R4"""
    timeline = Timeline().started()
    timeline.traces(traces(200, seed=6))
    timeline.ask("pause")
    watermarks, number = dict(timeline.it.watermarks), timeline.it.number
    timeline.seconds(60)
    assert (timeline.it.watermarks, timeline.it.lifecycle) == (watermarks, PAUSED)
    timeline.ask("resume")
    assert (timeline.it.run, timeline.it.lifecycle, timeline.it.number > number) == (2, RUNNING, True)


# ---- what is not applied yet -----------------------------------------------------------------------


def of_two(more: str = "") -> str:
    return spec(more).replace("control: current}", "control: current, controllers: [flagd, edge]}")


def test_an_amendment_waits_until_the_last_command_is_applied() -> None:
    """Else nobody would send a stop again that one of them has not heard of."""
    timeline = Timeline(of_two()).started()
    timeline.ask("stop")
    timeline.ack("flagd")
    timeline.spec_text = of_two("segments: [tenant]")
    timeline.ask("amend", reason="by tenant")
    handled = timeline.said(RequestHandled)[-1]
    why = "edge has not applied the last command yet, and an amendment would forget it; amend once it has"
    assert (handled.accepted, handled.reason) == (False, why)
    assert (timeline.it.lifecycle, timeline.it.experiment.spec.segments) == (STOPPED, ())
    timeline.ack("edge")
    timeline.ask("amend", reason="by tenant")
    assert (timeline.it.lifecycle, timeline.it.experiment.spec.segments) == (REGISTERED, ("tenant",))


def test_an_amendment_of_before_that_rule_is_obeyed_as_it_was() -> None:
    timeline = Timeline(of_two()).started()
    timeline.ask("stop")
    timeline.edition = 1
    timeline.spec_text = of_two("segments: [tenant]")
    timeline.ask("amend", reason="by tenant")
    assert timeline.it.lifecycle == REGISTERED


def test_the_registry_says_since_when_a_controller_serves_what_the_last_command_orders() -> None:
    timeline = Timeline(of_two()).started()
    timeline.seconds(1)
    timeline.ask("pause")
    assert timeline.registry()[-1].served_at is None
    timeline.ack("edge", "rejected")
    assert timeline.registry()[-1].served_at is None
    timeline.seconds(1)
    timeline.ack("edge")
    assert timeline.registry()[-1].served_at == timeline.at
    timeline.seconds(1)
    timeline.ack("flagd")
    assert timeline.registry()[-1].served_at == timeline.at - 1_000_000
