"""The review as data: what was compared, what was decided and why; no data is None."""

from __future__ import annotations

from typing import Any

import pytest

from stoploss.experiment import Experiment
from stoploss.policy.file import parse_policy
from stoploss.review.document import Review, Rows, review
from tests.governance.institution import LENIENT
from tests.review.rows import (
    GUARDED,
    NOW,
    ack,
    arm,
    at,
    experiment,
    finding,
    issued,
    published,
    served,
    status,
    verdict,
)

SPEC = experiment(GUARDED)


def rows(**changes: Any) -> Rows:
    empty: dict[str, Any] = dict.fromkeys(("timeline", "arms", "verdicts", "commands", "exposures"), ())
    empty |= {"signers": {}, "read_at": NOW}
    return Rows(**{**empty, **changes})


def reviewed(spec: Experiment = SPEC, state: dict[str, Any] | None = None, **changes: Any) -> Review:
    return review(spec, status(**(state or {})), rows(**changes))


def test_a_metric_is_compared_in_both_arms() -> None:
    arms = [
        arm(mean=500.0),
        arm(variant="small", mean=600.0),
        arm(variant="small", segment_dimension="tenant", mean=1.0),
    ]
    (latency,) = [result for result in reviewed(arms=arms).results if result.what == "latency"]
    assert latency.change == pytest.approx(0.2)
    assert latency.relative
    assert (latency.unit, latency.guardrail and latency.guardrail.metric) == ("ms", "latency_ms")


def test_a_score_that_may_be_zero_is_compared_in_its_own_unit() -> None:
    spec = experiment("objective: {quality: {score: helpfulness}}")
    arms = [arm(metric="helpfulness", mean=0.0), arm(metric="helpfulness", variant="small", mean=-0.1)]
    (quality,) = [result for result in reviewed(spec, arms=arms).results if result.what == "quality"]
    assert quality.change == pytest.approx(-0.1)
    assert (quality.relative, quality.guardrail) == (False, None)


@pytest.mark.parametrize("arms", [[], [arm()], [arm(), arm(variant="small", n=0, mean=None)], [arm(mean=0.0)]])
def test_where_an_arm_has_no_data_there_is_no_change(arms: list[Any]) -> None:
    (latency,) = [result for result in reviewed(arms=arms).results if result.what == "latency"]
    assert latency.change is None
    assert latency.treatment is None


def test_what_an_earlier_run_measured_is_not_this_runs() -> None:
    old = reviewed(state={"run": 2}, arms=[arm(run=1)], verdicts=[verdict(run=1)], timeline=[finding(3, run=1)])
    assert (old.results[1].control, old.measured_at, old.findings) == (None, None, ())
    assert {result.verdict for result in old.guardrails} == {"not judged"}


def test_an_experiment_that_was_registered_again_has_no_results_yet() -> None:
    again = reviewed(state={"lifecycle": "registered"}, arms=[arm()], timeline=[finding(1), issued(2)])
    assert (again.findings, again.commands, again.measured_at) == ((), (), None)
    assert (again.decision.decision, again.decision.why) == ("undecided", "it has not started")


def test_the_decision_is_the_last_command_that_lowered_exposure_and_why() -> None:
    timeline = [issued(1, "c-0", "set_exposure"), finding(2, ledger_offset=3), issued(3, "c-1", "rollback")]
    decided = reviewed(timeline=timeline).decision
    assert (decided.decision, decided.at, decided.command_id) == ("rollback", at(3), "c-1")
    assert decided.why == "rollback 'checkout': latency_ms is worse than allowed"


def test_a_run_that_was_only_started_is_undecided() -> None:
    decided = reviewed(timeline=[issued(1, "c-0", "set_exposure")]).decision
    assert (decided.decision, decided.command_id) == ("undecided", None)


def test_a_run_that_is_held_is_undecided_and_says_what_holds_it() -> None:
    decided = reviewed(state={"lifecycle": "holding"}, timeline=[finding(2, rule="sample_ratio")]).decision
    assert (decided.decision, decided.why) == ("undecided", "held: latency_ms is worse than allowed")


def test_gates_are_all_listed_and_uncounted_ones_are_no_data() -> None:
    counted = verdict(rule="gate", metric="pii_exposed", verdict="breach", n_control=0, n_treatment=1)
    gates = {gate.gate: (gate.n_control, gate.n_treatment) for gate in reviewed(verdicts=[counted]).gates}
    assert gates == {
        "pii_exposed": (0, 1),
        "privilege_escalation": (None, None),
        "unapproved_side_effect": (None, None),
    }


def test_commands_come_with_their_answers_and_the_exposures_after_them() -> None:
    full = reviewed(timeline=[issued(10)], commands=[published((ack("applied", 10.1),))], exposures=[served(4, 2)])
    assert [answer.status for answer in full.commands[0].acks] == ["applied"]
    assert [(counted.in_flight, counted.after_stop) for counted in full.exposures] == [(4, 2)]


def test_what_the_spec_asks_for_and_nobody_enforced_is_said() -> None:
    asked = experiment("approvals: {required: 2}")
    assert reviewed(asked).not_enforced == ("approvals (without a policy in force)",)
    assert reviewed(asked, policy=parse_policy(LENIENT)).not_enforced == ()
