"""Approving and rejecting: who may, for which domain, what would follow, and what the form stands for.

What is offered follows the roles and the policy as they are read here. Registrar and judge have the last word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from stoploss.cli.governing import carried
from stoploss.console.asking import APPROVE, DECISIONS, Offer, share_typed
from stoploss.console.reads import Standing
from stoploss.experiment import Experiment
from stoploss.governance.approvals import MATERIAL, missing, needs, refused_to_author
from stoploss.governance.bodies import Domain
from stoploss.governance.identity import Identity
from stoploss.governance.record import Governance
from stoploss.lifecycle import LIVE, REQUESTS
from stoploss.policy.model import Policy
from stoploss.review.words import listed

DOMAINS: tuple[str, ...] = get_args(Domain)
NOT_MISSING = "No approval is missing."
NOT_READ = "This version cannot read its spec, so nothing can be said of its approvals."


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks, and what decides on their decisions.

    roles   None: everybody may ask for everything
    policy  None: none is in force, or it cannot be read
    trouble why it cannot
    """

    person: str
    roles: Identity | None = None
    policy: Policy | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Domains that a person may speak for now, those that are asked for first; where there is none: why not."""

    domains: tuple[str, ...]
    why_not: str = ""


def lacking(standing: Standing, policy: Policy | None, now: datetime) -> list[str]:
    """The approvals that are asked for and are not there, one phrase each; of no spec that cannot be read."""
    if standing.spec is None:
        return []
    return missing(needs(policy, standing.spec), _said(standing), _micros(now))


def decisions(standing: Standing, viewer: Viewer, now: datetime) -> tuple[Offer, ...]:
    """What the viewer may answer, where approvals are waited for."""
    return tuple(offer for name, offer in DECISIONS.items() if choice(name, standing, viewer, now).domains)


def choice(action: str, standing: Standing, viewer: Viewer, now: datetime) -> Choice:
    """action: approve or reject"""
    status, spec = standing.status, standing.spec
    if status.lifecycle not in REQUESTS[action]:
        return Choice((), f"This is not allowed while it is {status.lifecycle.replace('_', ' ')}.")
    if spec is None:
        return Choice((), NOT_READ)
    if not lacking(standing, viewer.policy, now):
        return Choice((), NOT_MISSING)
    if why := refused_to_author(viewer.person, standing.authors):
        return Choice((), why)
    allowed = _allowed(action, spec, viewer)
    if not allowed:
        return Choice((), _refusal(action, spec, viewer, None) or "")
    said = {(one.domain, one.granted) for one in standing.approvals if one.by == viewer.person}
    left = tuple(domain for domain in allowed if (domain, action == APPROVE) not in said)
    return Choice(left, "" if left else f"{viewer.person} has said so already.")


def _allowed(action: str, spec: Experiment, viewer: Viewer) -> list[str]:
    asked_for = needs(viewer.policy, spec).domains
    ordered = sorted(DOMAINS, key=lambda domain: domain not in asked_for)
    return [domain for domain in ordered if _refusal(action, spec, viewer, domain) is None]


def _refusal(action: str, spec: Experiment, viewer: Viewer, domain: str | None) -> str | None:
    """By the roles; domain None: whichever they speak for."""
    if viewer.roles is None:
        return None
    return viewer.roles.refusal(viewer.person, action, frozenset({spec.metadata.owner}), domain)


def outcome_of_decision(action: str, standing: Standing, viewer: Viewer, now: datetime) -> tuple[str, ...]:
    """What will be the case once the judge has accepted it."""
    if standing.spec is None:
        return ()
    missed = lacking(standing, viewer.policy, now)
    waits = (f"Missing now: {'; '.join(missed)}.",) if missed else ()
    return (*waits, *(_approved(standing) if action == APPROVE else _rejected(standing)))


def _approved(standing: Standing) -> Iterator[str]:
    assert standing.spec is not None
    stages = [f"{100 * stage:g} %" for stage in standing.spec.spec.ramp.shares]
    yield "Nobody gets the treatment by it: an operator starts or resumes it, once nothing is missing."
    yield f"Its ramp goes to {listed(stages)} of the traffic, unless you allow less. The narrowest approval holds."
    yield "It is of the spec as it stands. A change of its scope, stop rule or target makes it void."
    if standing.spec.spec.user_impact == MATERIAL:
        yield "It has material impact on users, so an approver has to state on it."


def _rejected(standing: Standing) -> Iterator[str]:
    yield "Nothing raises its exposure until you approve it for the same domain, whoever else approves."
    if standing.status.lifecycle in LIVE:
        yield "It runs: where the policy asks for approvals, it is paused."


def body_of_form(action: str, experiment: str, fields: Mapping[str, str]) -> str:
    """As the command line would write it. Raises RequestRefused with what is wrong."""
    terms: dict[str, object] = {"domain": fields.get("domain", "")}
    if action == APPROVE:
        terms["largestExposure"] = share_typed(fields.get("largest", ""))
        terms |= {name: fields.get(name, "").strip() for name in ("validFor", "statement")}
    return carried(action, experiment, {name: value for name, value in terms.items() if value})


def _said(standing: Standing) -> Governance:
    return Governance(approvals=list(standing.approvals))


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)
