"""Roles scoped to teams (G5), and requests signed by persons: who may ask for what."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from stoploss.errors import InvalidExperiment
from stoploss.governance.identity import FRESH_S, RolesFile, Signed
from stoploss.governance.roles import ROLE_OF, parse_roles, refusal
from stoploss.ledger import Request
from stoploss.lifecycle import FREEZE, OF_ALL, POLICY, RECORD, REQUESTS, UNFREEZE
from stoploss.wire import records
from tests.governance.people import ROLES_TEXT, SIGNERS, identity

ROLES = parse_roles(ROLES_TEXT)
OURS = frozenset({"search-team"})
NOW = 1_790_000_000_000_000


def test_every_request_has_its_role() -> None:
    assert ROLE_OF.keys() == REQUESTS.keys() | OF_ALL | {RECORD}


@pytest.mark.parametrize(
    ("person", "action", "domain", "allowed"),
    [
        ("ada", "register", None, True),
        ("ci", "amend", None, True),
        ("olga", "register", None, False),
        ("olga", "start", None, True),
        ("ada", "start", None, False),
        ("oskar", "start", None, False),
        ("oskar", "stop", None, True),
        ("oskar", "rollback", None, True),
        ("oskar", "pause", None, False),
        ("ada", "stop", None, False),
        ("pia", "approve", "product", True),
        ("pia", "approve", "security", False),
        ("ada", "reject", "privacy", True),
        ("ada", "reject", "product", False),
        ("pia", "reviewed", None, True),
        ("pia", "note", None, True),
        ("vic", "note", None, False),
        ("vic", "register", None, False),
        ("carol", POLICY, None, True),
        ("ada", POLICY, None, False),
        ("olga", FREEZE, None, True),
        ("carol", FREEZE, None, True),
        ("ada", FREEZE, None, False),
        ("carol", UNFREEZE, None, True),
        ("olga", UNFREEZE, None, False),
    ],
)
def test_a_role_counts_in_its_team_and_stopping_in_every_one(
    person: str, action: str, domain: str | None, allowed: bool
) -> None:
    """G5"""
    assert (refusal(ROLES, person, action, OURS, domain) is None) is allowed


def test_nobody_moves_an_experiment_into_a_team_that_is_not_theirs() -> None:
    both = frozenset({"search-team", "other-team"})
    assert refusal(ROLES, "ada", "amend", both) == (
        "ada may not amend here: that takes the role author in team 'other-team', which vic has"
    )


def test_what_is_of_no_team_is_put_on_record_by_whoever_may_do_so_in_any() -> None:
    assert refusal(ROLES, "carol", RECORD, frozenset()) is None
    assert refusal(ROLES, "oskar", RECORD, frozenset()) is None
    assert refusal(ROLES, "mallory", RECORD, frozenset()) == (
        "mallory may not record here: that takes a role beside viewer in any team, or a steward"
    )


def test_a_team_that_nobody_has_described_has_nobody() -> None:
    assert refusal(ROLES, "ada", "register", frozenset({"ghosts"})) == (
        "ada may not register here: that takes the role author in team 'ghosts', which nobody has"
    )


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ("stewards: [carol]", "stewards: [mallory]", "stewards"),
        ("operator: [olga]", "operator: [mallory]", "teams.search-team"),
        ("approver: {product", "approver: {finance", "teams.search-team.approver.finance.[key]"),
        ("  ada: ", "  ada: x", "people.ada"),
        ("viewer: [vic]", "watcher: [vic]", "teams.search-team.watcher"),
    ],
)
def test_a_file_of_roles_that_is_wrong_is_refused_with_its_field(before: str, after: str, field: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        parse_roles(ROLES_TEXT.replace(before, after))
    assert field in [fault.field for fault in refused.value.violations]
    assert all(fault.line for fault in refused.value.violations)


# ---- signatures ----------------------------------------------------------------------------------------


def signed(by: str, action: str = "start", signer: str | None = None, **changes: object) -> Signed:
    request = replace(Request("r1", "checkout", action, by, "because", NOW), **changes)  # type: ignore[arg-type]
    value = records.encode("request", request)
    return Signed(replace(request, accepted=True), value, SIGNERS[signer or by].sign(value), NOW)


def test_a_signed_request_of_somebody_with_the_role_is_accepted_and_keeps_the_key() -> None:
    found = identity().checked(signed("olga"), OURS)
    assert (found.accepted, found.key_id) == (True, SIGNERS["olga"].key_id)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (replace(signed("olga"), signature=None), "not signed"),
        (replace(signed("olga"), signature=SIGNERS["olga"].sign(b"something else")), "is wrong"),
        (replace(signed("olga"), value=signed("olga", exposure=1.0).value), "is wrong"),
        (signed("olga", signer="ada"), "it is signed by ada, and says that olga asks"),
        (signed("ada"), "ada may not start here: that takes the role operator in team 'search-team', which olga has"),
        (replace(signed("olga"), arrived_at=NOW + (FRESH_S + 1) * 1_000_000), "301 s away from its arrival"),
        (signed("pia", "approve", body='{"domain": "security"}'), "the role approver for security"),
    ],
)
def test_what_is_not_signed_or_not_theirs_is_refused_with_a_sentence(asked: Signed, why: str) -> None:
    """G5"""
    found = identity().checked(asked, OURS)
    assert found.accepted is False
    assert why in (found.opinion or "")


def test_a_file_that_changes_is_read_again_and_a_broken_one_leaves_the_last_in_force(tmp_path: Path) -> None:
    path = tmp_path / "roles.yaml"
    path.write_text(ROLES_TEXT)
    roles = RolesFile(path)
    assert roles.identity().checked(signed("ada"), OURS).accepted is False
    path.write_text(ROLES_TEXT.replace("operator: [olga]", "operator: [olga, ada]"))
    os.utime(path, ns=(1, 1))
    assert roles.identity().checked(signed("ada"), OURS).accepted is True
    path.write_text("people: [")
    os.utime(path, ns=(2, 2))
    assert roles.identity().checked(signed("ada"), OURS).accepted is True
