"""Preregistration (X10): a spec is frozen, a change is an amendment, and a change of what was approved voids it."""

from __future__ import annotations

from copy import deepcopy

import pytest

from stoploss.governance.changes import fields, voids
from stoploss.spec.file import parse_experiment
from tests.governance.institution import POLICY_TEXT, SPEC_TEXT, House, edited
from tests.timelines import SPEC, spec

UNCHANGED = "37ac283adc5f702c364a2ffb49a5276ef7571b75c51d00639a4c4cadf929ae38"
"""Of the specs of the first timelines, as the first version hashed them."""
CLEARER = ("as good", "as good or better")
NARROWER = (
    "error_rate, direction: lower, margin: {relative: 0.10}",
    "error_rate, direction: lower, margin: {relative: 0.05}",
)


IS_AMENDMENT = "it is registered already, and a change is an amendment: `stoploss amend`, or `clone` it to begin anew"


@pytest.mark.parametrize("policy", [POLICY_TEXT, None])
@pytest.mark.parametrize("then", [(), ("start",), ("start", "stop")])
def test_another_spec_is_no_registration_and_the_way_out_is_named(policy: str | None, then: tuple[str, ...]) -> None:
    """X10"""
    house = House(policy=policy).approved("product", "privacy")
    assert [house.ask(action) for action in then] == [None] * len(then)
    house.timeline.spec_text = edited(CLEARER)
    assert house.ask("register") == IS_AMENDMENT
    assert house.timeline.it.spec == SPEC_TEXT


def test_a_spec_is_registered_once_and_who_registers_it_again_changes_nothing() -> None:
    """X10, G2: nobody launders who wrote it, what was changed since, and who has rejected it."""
    house = House().approved("product")
    house.timeline.spec_text = edited(CLEARER)
    house.ask("amend", by="bob", reason="reviewers asked")
    house.ask("reject", by="pia", domain="privacy")
    before = deepcopy(house.timeline.it.governance)
    assert house.ask("register", by="ci") is None
    assert house.last_words == "nothing changed: the spec in force says the same"
    assert house.timeline.it.governance == before
    assert house.timeline.registry()[-1].authors == ("ada", "bob")
    assert "bob is an author of the spec" in (house.ask("approve", by="bob", domain="product") or "")


@pytest.mark.parametrize("then", [("start",), ("start", "pause"), ("start", "stop"), ("start", "rollback")])
def test_a_registration_at_each_push_disturbs_no_run_and_hides_no_end(then: tuple[str, ...]) -> None:
    """X10"""
    house = House(policy=None).approved()
    assert [house.ask(action) for action in then] == [None] * len(then)
    lifecycle, commands = house.lifecycle, len(house.timeline.commands)
    assert house.ask("register", by="ci") is None
    assert (house.lifecycle, len(house.timeline.commands), house.timeline.it.run) == (lifecycle, commands, 1)


def test_a_registration_in_an_older_ledger_takes_the_place_of_the_spec_as_it_did_then() -> None:
    """A replay says what was said: requests of then have no edition."""
    house = House(policy=None)
    house.timeline.edition = None
    house.ask("register")
    house.ask("start")
    assert (house.ask("register") or "").startswith("register is not allowed while the experiment is running")
    house.ask("stop")
    house.timeline.spec_text = edited(CLEARER)
    assert house.ask("register", by="bob") is None
    assert (house.timeline.it.spec, house.lifecycle) == (edited(CLEARER), "registered")
    assert house.timeline.it.governance.authors == ["bob"]


def test_an_amendment_is_kept_with_author_reason_and_what_changed() -> None:
    """X10"""
    house = House().approved()
    house.timeline.spec_text = edited(CLEARER)
    assert house.ask("amend", by="bob", reason="reviewers asked") is None
    entry = house.timeline.registry()[-1]
    (amendment,) = entry.amendments
    assert (amendment.by, amendment.reason, amendment.fields) == ("bob", "reviewers asked", ("spec.hypothesis",))
    assert (amendment.spec_hash, entry.spec) == (entry.spec_hash, house.timeline.spec_text)
    assert entry.authors == ("ada", "bob")


@pytest.mark.parametrize(
    ("reason", "text", "why"),
    [
        ("", edited(CLEARER), "an amendment needs a reason"),
        ("again", SPEC_TEXT, "it changes nothing: the spec in force says the same"),
        ("other", edited(("name: checkout, owner", "name: basket, owner")), "the spec is of 'basket'"),
        ("more", edited(("stages: [0.05, 0.2]", "stages: [0.05, 0.9]")), "spec.ramp.stages[1]: 0.9 is more than class"),
        ("broken", "metadata: [", "the spec is refused"),
    ],
)
def test_an_amendment_that_cannot_be_is_refused_and_changes_nothing(reason: str, text: str, why: str) -> None:
    house = House().approved()
    house.timeline.spec_text = text
    assert why in (house.ask("amend", reason=reason) or "")
    assert house.timeline.it.spec == SPEC_TEXT
    assert house.timeline.it.governance.amendments == []


def test_approvals_survive_an_amendment_of_words_and_not_one_of_a_stop_rule() -> None:
    """X10"""
    house = House().approved("product", "privacy")
    house.timeline.spec_text = edited(CLEARER)
    house.ask("amend")
    assert house.lifecycle == "approved"
    house.timeline.spec_text = edited(CLEARER, NARROWER)
    house.ask("amend")
    assert house.lifecycle == "registered"
    assert [one.voided for one in house.timeline.it.governance.amendments] == [False, True]
    assert house.ask("start") == "it is not approved: product has not approved; privacy has not approved"


def test_a_stopped_experiment_is_amended_and_started_anew() -> None:
    house = House(SPEC, policy=None)
    house.ask("register")
    house.ask("start")
    house.ask("stop")
    house.timeline.spec_text = spec("segments: [tenant]")
    assert house.ask("amend") is None
    assert house.lifecycle == "registered"
    assert house.ask("start") is None
    assert house.timeline.it.run == 2
    assert house.timeline.it.experiment.spec.segments == ("tenant",)


def test_fields_are_named_as_in_the_file() -> None:
    before, after = (
        parse_experiment(SPEC_TEXT),
        parse_experiment(edited(NARROWER, ("taken: 2026-09-20", "taken: 2026-09-21"))),
    )
    assert fields(before, after) == ("spec.guardrails[0].margin.relative", "spec.baselines[0].taken")


@pytest.mark.parametrize(
    ("field", "lost"),
    [
        ("spec.hypothesis", False),
        ("spec.baselines[0].taken", False),
        ("spec.evidence.offline", False),
        ("metadata.labels.risk", True),
        ("metadata.owner", True),
        ("spec.variants[1].tools[0]", True),
        ("spec.ramp.stages[1]", True),
        ("spec.privacy.retention", True),
    ],
)
def test_only_words_leave_approvals_as_they_are(field: str, lost: bool) -> None:
    assert voids([field]) is lost


def test_fields_that_came_later_leave_the_hash_of_older_specs_as_it_was() -> None:
    """A hash is in every evidence block: it may not change with the version of stoploss."""
    assert parse_experiment(SPEC).spec_hash == UNCHANGED
    assert parse_experiment(SPEC + "  factors: [model, prompt]\n").spec_hash != UNCHANGED


def test_the_journal_names_what_an_amendment_changes_and_what_it_costs() -> None:
    """X10"""
    house = House().approved("product")
    house.timeline.spec_text = edited(NARROWER)
    house.ask("amend", reason="reviewers asked")
    assert house.last_words == "changes spec.guardrails[0].margin.relative; approvals are void: reviewers asked"
