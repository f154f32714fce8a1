"""Decisions of people (D8, G4): recorded with reason and caveats; departing from the recommendation needs a reason."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stoploss.review.overview import status_of
from stoploss.review.words import moment
from stoploss.state import RECOMMENDATION
from tests.governance.institution import House
from tests.timelines import SPEC


def stopped(recommended: str | None = None) -> House:
    house = House(SPEC, policy=None)
    house.ask("register")
    house.ask("start")
    house.ask("stop")
    if recommended is not None:
        house.timeline.it.current.verdicts[RECOMMENDATION] = f"{recommended}/because"
    return house


DEPARTS = (
    "the monitor recommends rollback, the decision is rollout: departing from the recommendation needs a reason; "
    "give one with --reason"
)
NO_REASON = "a decision needs a reason; give one with --reason"


@pytest.mark.parametrize(
    ("recommended", "decision", "why"),
    [("rollback", "rollout", DEPARTS), ("rollback", "rollback", NO_REASON), (None, "iterate", NO_REASON)],
)
def test_a_decision_needs_a_reason_and_most_of_all_one_that_departs_from_the_recommendation(
    recommended: str | None, decision: str, why: str
) -> None:
    """D8"""
    house = stopped(recommended)
    for reason in ("", " "):
        assert house.ask("complete", reason=reason, decision=decision) == why
    assert house.ask("complete", reason="the harm was a fault of the test", decision=decision) is None
    assert house.lifecycle == "completed"


@pytest.mark.parametrize(("decision", "why"), [("rollback", None), ("rollout", DEPARTS)])
def test_a_decision_in_an_older_ledger_needed_one_only_where_it_departed(decision: str, why: str | None) -> None:
    """A replay says what was said: requests of then have no edition."""
    house = stopped("rollback")
    house.timeline.edition = None
    assert house.ask("complete", reason="", decision=decision) == why


def test_the_decision_stands_in_the_journal_and_in_the_registry() -> None:
    """D8, G4"""
    house = stopped("iterate")
    house.ask("complete", reason="too slow", decision="iterate", caveats="one week only", lesson="cache first")
    assert house.last_words == (
        "iterate, recommended was iterate, caveats: one week only, lesson: cache first: too slow"
    )
    completion = house.timeline.registry()[-1].completion
    assert completion is not None
    assert (completion.decision, completion.by, completion.recommended) == ("iterate", "ada", "iterate")


def test_who_reviewed_a_decision_stands_with_it_and_the_review_after_a_rollout_comes_due() -> None:
    """D8, G7"""
    house = stopped("rollout")
    house.ask("complete", reason="as good", decision="rollout", reviewer="bob")
    assert house.last_words == "rollout, recommended was rollout, reviewer: bob: as good"
    entry = house.timeline.registry()[-1]
    assert entry.completion is not None
    assert entry.completion.reviewer == "bob"
    decided_on = moment(entry.completion.at).date()
    assert status_of(entry, decided_on).due == (
        f"the post-implementation review is due on {decided_on + timedelta(days=30)}",
    )


def test_a_review_is_held_by_somebody_else() -> None:
    house = stopped()
    house.ask("complete", decision="iterate")
    assert house.ask("reviewed") == "ada has completed the experiment; a review is somebody else's"
    assert house.ask("reviewed", by="bob") is None
    assert house.lifecycle == "reviewed"


def test_what_is_completed_stays_so() -> None:
    house = stopped()
    house.ask("complete", decision="iterate")
    assert house.ask("resume") == (
        "resume is not allowed while the experiment is completed; allowed now: note, reviewed"
    )


def test_a_note_stands_in_the_journal_with_its_kind() -> None:
    """G4"""
    house = stopped()
    assert house.ask("note", by="bob", reason="the provider was down from 10 to 11", kind="incident") is None
    assert house.last_words == "incident: the provider was down from 10 to 11"
    assert house.ask("note", reason="") == "a note needs words; give them with --reason"


def test_a_ramp_takes_the_next_stage_within_the_run_and_keeps_its_evidence() -> None:
    house = House(SPEC.replace("[0.5]", "[0.1, 0.5]"), policy=None)
    house.ask("register")
    house.ask("start")
    assert house.ask("ramp") is None
    command = house.timeline.commands[-1]
    assert (command.exposure, command.run, command.epoch, command.expires_at is None) == (0.5, 1, 2, False)
    assert house.ask("ramp") == "the last stage, 0.5, is reached; name a share with --exposure"
    assert house.ask("ramp", exposure=0.5) == "the exposure is 0.5 already"
    assert house.ask("ramp", exposure=0.2) is None
    assert (house.timeline.commands[-1].exposure, house.timeline.commands[-1].expires_at) == (0.2, None)
