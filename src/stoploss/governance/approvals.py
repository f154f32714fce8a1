"""Which approvals an experiment needs, which of them count at a moment, and under which conditions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from stoploss.commands import Micros, Segment
from stoploss.experiment import Experiment
from stoploss.governance.record import Approval, DailyWindow, Governance
from stoploss.policy.model import Policy
from stoploss.policy.units import new_capabilities

SECURITY = "security"
MATERIAL = "material"


@dataclass(frozen=True, slots=True)
class Needs:
    """domains: people who have to approve, by domain; total: people in all, whichever domains they speak for."""

    domains: dict[str, int]
    total: int


@dataclass(frozen=True, slots=True)
class Conditions:
    """What all standing approvals and the class of risk allow together."""

    largest_exposure: float
    windows: tuple[DailyWindow, ...]
    excluded: tuple[Segment, ...]


def needs(policy: Policy | None, experiment: Experiment) -> Needs:
    """What the class of risk asks for, what the spec asks for, and security where the treatment can do more.

    Without a policy, what the spec asks for alone.
    """
    asked = experiment.spec.approvals
    domains = dict.fromkeys(asked.from_, 1)
    if policy is not None:
        risk = policy.risk_of(experiment.metadata.labels)
        limits = policy.spec.risk_classes.get(risk or "")
        for domain, people in limits.approvals.items() if limits else ():
            domains[domain] = max(people, domains.get(domain, 0))
        if new_capabilities(experiment):
            domains.setdefault(SECURITY, 1)
    return Needs(domains, asked.required)


def standing(governance: Governance, at: Micros) -> list[Approval]:
    """Approvals that count at a moment."""
    return [one for one in governance.approvals if _counts(one, at)]


def expired(approval: Approval, at: Micros) -> bool:
    return approval.expires_at is not None and at >= approval.expires_at


def missing(wanted: Needs, governance: Governance, at: Micros) -> list[str]:
    """What stands in the way, one phrase each; empty where all is approved."""
    count = standing(governance, at)
    found = [
        f"{one.by} has rejected it for {one.domain}: {one.reason}" for one in governance.approvals if not one.granted
    ]
    for domain, people in wanted.domains.items():
        have = len({one.by for one in count if one.domain == domain})
        if have < people:
            found.append(f"{_who(domain, people, have)}{_lapsed(governance, domain, at)}")
    if (people := len({one.by for one in count})) < wanted.total:
        found.append(f"{people} of {wanted.total} people have approved")
    return found


def ended(wanted: Needs, governance: Governance, at: Micros) -> list[str]:
    """What was approved and is so no more, one phrase each: an approval has expired, or somebody has rejected since.

    What nobody has approved yet is not among it: a policy that asks for more is heard at the next raise.
    """
    said, over = missing(wanted, governance, at), {one.domain for one in governance.approvals if not _counts(one, at)}
    if not over:
        return []
    count = standing(governance, at)
    lacking = {name for name, n in wanted.domains.items() if len({one.by for one in count if one.domain == name}) < n}
    rejected = any(not one.granted for one in governance.approvals)
    short = len({one.by for one in count}) < wanted.total
    return said if rejected or short or lacking & over else []


def _counts(approval: Approval, at: Micros) -> bool:
    return approval.granted and not expired(approval, at)


def ending(governance: Governance, at: Micros, within: Micros) -> list[Approval]:
    """Approvals that stand and will not for so much longer."""
    return [one for one in standing(governance, at) if one.expires_at is not None and one.expires_at - at <= within]


def refused_to_author(person: str, authors: Collection[str]) -> str | None:
    """Why a person may not decide on a spec that they wrote, in a sentence; None where they did not write it."""
    if person not in authors:
        return None
    return f"{person} is an author of the spec, and nobody approves or rejects their own; ask somebody else"


def _who(domain: str, people: int, have: int) -> str:
    return f"{domain} has not approved" if people == 1 else f"{have} of {people} have approved for {domain}"


def _lapsed(governance: Governance, domain: str, at: Micros) -> str:
    names = [one.by for one in governance.approvals if one.domain == domain and one.granted and expired(one, at)]
    return f" (the approval of {', '.join(names)} has expired)" if names else ""


def is_approved(wanted: Needs, governance: Governance, at: Micros) -> bool:
    """Whether somebody has approved and nobody is missing."""
    return bool(standing(governance, at)) and not missing(wanted, governance, at)


def with_approval(approvals: Iterable[Approval], new: Approval) -> list[Approval]:
    """The same person's word for the same domain is replaced."""
    return [*(one for one in approvals if (one.by, one.domain) != (new.by, new.domain)), new]


def conditions(policy: Policy | None, experiment: Experiment, count: Sequence[Approval]) -> Conditions:
    """The narrowest of all: the smallest share, every window, every excluded segment."""
    risk = policy.risk_of(experiment.metadata.labels) if policy else None
    limits = policy.spec.risk_classes.get(risk or "") if policy else None
    shares = [one.largest_exposure for one in count if one.largest_exposure is not None]
    windows = [one.window for one in count if one.window is not None]
    excluded = dict.fromkeys(segment for one in count for segment in one.excluded)
    return Conditions(
        largest_exposure=min([*shares, limits.largest_exposure if limits else 1.0]),
        windows=tuple(dict.fromkeys(windows)),
        excluded=tuple(excluded),
    )
