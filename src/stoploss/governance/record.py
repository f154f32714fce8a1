"""What the judge remembers of people's decisions on an experiment: a fold of their requests, no more.

Everything here stands in the ledger; the registry carries it, so that status and review can show it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stoploss.awaited import Awaited
from stoploss.commands import Micros, Segment

MOST_AMENDMENTS = 64
"""The last ones; all of them stand in the ledger and in the journal."""


@dataclass(frozen=True, slots=True)
class DailyWindow:
    """Hours of some weekdays in a time zone, as a spec writes them: days Mon-Fri, from 09:00, to 17:00."""

    days: str
    from_: str
    to: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Approval:
    """An approver's word for one domain; a later one of the same domain by the same person takes its place.

    granted            false: rejected, which stands in the way until the same person approves
    statement          on the impact on users, where the spec declares one
    expires_at         ledger time from which it counts no more; None: never
    largest_exposure   share of traffic that it allows at most; None: all that the policy allows
    window             hours in which exposure may be raised under it; None: any
    excluded           segments that get the control variant only
    waives             evidence that need not be there
    """

    domain: str
    by: str
    granted: bool
    reason: str
    at: Micros
    statement: str
    expires_at: Micros | None
    largest_exposure: float | None
    window: DailyWindow | None
    excluded: tuple[Segment, ...]
    waives: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Amendment:
    """A change to a registered spec. fields: what changed; voided: whether approvals were lost by it."""

    by: str
    reason: str
    at: Micros
    spec_hash: str
    fields: tuple[str, ...]
    voided: bool


@dataclass(frozen=True, slots=True)
class Completion:
    """How an experiment ended, in a person's words.

    recommended  what the monitor had said then; None: nothing
    reviewer     who looked at the evidence beside the one who decides; empty: nobody was named
    reviewed_at  ledger time at which somebody else has last looked at what became of it; None: nobody has
    """

    decision: str
    by: str
    reason: str
    at: Micros
    caveats: str
    lesson: str
    recommended: str | None
    reviewer: str = field(default="", metadata={"since": "0.1.0"})
    reviewed_at: Micros | None = field(default=None, metadata={"since": "0.1.0"})


@dataclass(slots=True)
class Rehearsal:
    """The last dry-run rollback: who has yet to acknowledge it, and when all had."""

    command_id: str = ""
    awaiting: Awaited = field(default_factory=Awaited)
    acknowledged_at: Micros | None = None


@dataclass(slots=True)
class Governance:
    """What people have decided on an experiment since its spec was registered.

    authors    who registered or amended it: none of them may approve it
    rechecked  by item of the spec's baselines: when it was last looked at again; reminded: what is said to be due
    ending     approvals that were said to end soon: domain and person of each
    unexplained_at  ledger time at which the glass was broken and nobody has said why since; None: nothing to explain
    """

    authors: list[str] = field(default_factory=list)
    approvals: list[Approval] = field(default_factory=list)
    amendments: list[Amendment] = field(default_factory=list)
    rehearsal: Rehearsal = field(default_factory=Rehearsal)
    completion: Completion | None = None
    rechecked: dict[str, Micros] = field(default_factory=dict)
    reminded: list[str] = field(default_factory=list)
    ending: list[str] = field(default_factory=list)
    unexplained_at: Micros | None = field(default=None, metadata={"since": "0.1.0"})

    @classmethod
    def registered(cls, author: str) -> Governance:
        return cls(authors=[author])


@dataclass(slots=True)
class Freeze:
    """The last stop of the line that a ledger partition was told of, or its lift.

    in_force    nothing is started, resumed or ramped up
    request_id  of the first request that stopped it: one id in every partition
    at          ledger time
    paused      experiments that were running here, and were paused by it
    source      where the last of its requests stood: topic UUID, partition and offset
    """

    in_force: bool = False
    request_id: str = ""
    by: str = ""
    reason: str = ""
    at: Micros = 0
    paused: list[str] = field(default_factory=list)
    source: str = ""


@dataclass(slots=True)
class PolicyInForce:
    """The organisation's policy as a ledger partition was last told it; text is empty before the first.

    source  where its request stood: topic UUID, partition and offset
    """

    text: str = ""
    by: str = ""
    at: Micros = 0
    source: str = ""


def stood_before(source: str, known: str) -> bool:
    """Whether a request stood at or before another one in the same topic: it is read again after a crash."""
    topic, _, offset = source.rpartition("/")
    known_topic, _, known_offset = known.rpartition("/")
    return topic == known_topic and offset.isdecimal() and int(offset) <= int(known_offset)
