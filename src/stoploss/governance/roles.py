"""Roles of people and CI, in one file, scoped to teams: who may ask for what.

Checked by the registrar, where requests stand in one order; the judge finds the checked name in the ledger. Without
such a file everybody may ask for everything: one person's laptop.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field

from stoploss.errors import InvalidExperiment
from stoploss.governance.bodies import Domain
from stoploss.lifecycle import FREEZE, POLICY, RECORD, UNFREEZE
from stoploss.spec.base import Name, Part
from stoploss.spec.file import Fault, read_model, violations_at

KEY_BYTES = 32
ROLE_OF: dict[str, str] = {
    "register": "author",
    "amend": "author",
    "note": "author",
    "complete": "author",
    "approve": "approver",
    "reject": "approver",
    "reviewed": "approver",
    "rehearse": "operator",
    "start": "operator",
    "ramp": "operator",
    "pause": "operator",
    "resume": "operator",
    "stop": "operator",
    "rollback": "operator",
    RECORD: "author",
    POLICY: "steward",
    FREEZE: "operator",
    UNFREEZE: "steward",
}
"""Which role a request needs."""
OPEN = frozenset({"note", RECORD})
"""What changes nothing is open to every role of the team but the viewer."""
IN_ANY_TEAM = frozenset({"stop", "rollback"})
"""What the role allows in every team: harm does not wait for the right operator."""


class Team(Part):
    """Names of people by role. viewer: sees; auditor: sees and verifies; neither changes anything."""

    author: tuple[Name, ...] = ()
    operator: tuple[Name, ...] = ()
    viewer: tuple[Name, ...] = ()
    auditor: tuple[Name, ...] = ()
    approver: dict[Domain, tuple[Name, ...]] = Field(default_factory=dict)

    def holders(self, role: str, domain: str | None = None) -> tuple[str, ...]:
        """Who has a role; of approvers, those of one domain, or of any."""
        if role == "approver":
            named = [names for of, names in self.approver.items() if domain in (None, of)]
            return tuple(dict.fromkeys(name for names in named for name in names))
        found: tuple[str, ...] = getattr(self, role, ())
        return found

    @property
    def everybody(self) -> frozenset[str]:
        roles = ("author", "operator", "viewer", "auditor", "approver")
        return frozenset(name for role in roles for name in self.holders(role))

    @property
    def active(self) -> tuple[str, ...]:
        """Everybody who does not only look."""
        roles = ("author", "operator", "auditor", "approver")
        return tuple(dict.fromkeys(name for role in roles for name in self.holders(role)))


NOBODY = Team()


class Roles(Part):
    """
    people    public keys, base64 of 32 bytes, by name: `stoploss keys --person NAME` prints the line
    teams     by the owner that specs name in metadata.owner
    stewards  who may put a policy in force, stop the line, and lift the stop
    """

    api_version: Literal["stoploss/v1alpha1"]
    kind: Literal["Roles"]
    people: dict[Name, str]
    teams: dict[str, Team] = Field(default_factory=dict)
    stewards: tuple[Name, ...] = ()


def parse_roles(text: str, name: str = "the roles") -> Roles:
    """The roles of a YAML text; raises InvalidExperiment with all violations at once."""
    roles, root = read_model(Roles, text, name)
    if found := list(_faults(roles)):
        raise InvalidExperiment(name, violations_at(root, found))
    return roles


def _faults(roles: Roles) -> Iterator[Fault]:
    for person, key in roles.people.items():
        if _key_bytes(key) is None:
            yield ("people", person), "is no public key; `stoploss keys --person` prints the line that belongs here"
    named = {("stewards",): set(roles.stewards)} | {
        ("teams", name): set(t.everybody) for name, t in roles.teams.items()
    }
    for path, names in named.items():
        for name in sorted(names - roles.people.keys()):
            yield path, f"{name!r} has no key under people; add it, or take the name out"


def _key_bytes(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == KEY_BYTES else None


def keys_of(roles: Roles) -> dict[str, Ed25519PublicKey]:
    """The public key of each person."""
    return {
        person: Ed25519PublicKey.from_public_bytes(raw)
        for person, text in roles.people.items()
        if (raw := _key_bytes(text)) is not None
    }


def refusal(roles: Roles, person: str, action: str, teams: frozenset[str], domain: str | None = None) -> str | None:
    """Why somebody may not ask for this, in a sentence; None where he may.

    teams   owners of the experiment, before and after the request; he needs the role in each of them
    domain  of an approval or rejection
    """
    role = ROLE_OF.get(action)
    if role is None:
        return f"unknown action {action!r}; known actions: {', '.join(ROLE_OF)}"
    if role == "steward":
        what = "put a policy in force" if action == POLICY else "lift a stop of the line"
        return None if person in roles.stewards else f"{person} is no steward, and only they {what}"
    if action == FREEZE:
        return _refused_freeze(roles, person)
    if action == RECORD and not teams:
        return _refused_record(roles, person)
    if action in IN_ANY_TEAM and any(person in team.holders(role) for team in roles.teams.values()):
        return None
    for name in sorted(teams):
        team = roles.teams.get(name, NOBODY)
        allowed = team.active if action in OPEN else team.holders(role, domain)
        if person not in allowed:
            needed = f"{role} for {domain}" if domain else role
            who = ", ".join(sorted(allowed)) or "nobody"
            return f"{person} may not {action} here: that takes the role {needed} in team {name!r}, which {who} has"
    return None


def _refused_freeze(roles: Roles, person: str) -> str | None:
    """It is of no team: whoever may stop one experiment of any team may stop them all."""
    operators = {name for team in roles.teams.values() for name in team.operator}
    if person in operators or person in roles.stewards:
        return None
    return f"{person} may not stop the line: that takes an operator of any team, or a steward"


def _refused_record(roles: Roles, person: str) -> str | None:
    """Of no experiment, and so of no team: whoever may put something on record in any of them."""
    if person in roles.stewards or any(person in team.active for team in roles.teams.values()):
        return None
    return f"{person} may not {RECORD} here: that takes a role beside viewer in any team, or a steward"
