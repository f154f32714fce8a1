"""The journal: everything the monitor concluded, append-only, chained by hash within an experiment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from typing import Any

from stoploss.commands import Evidence, Micros
from stoploss.wire import records

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class RequestHandled:
    """The judge's last word on a request."""

    request_id: str
    action: str
    by: str
    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class LifecycleChanged:
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True)
class EpochOpened:
    """From here on arms are compared anew, at this exposure."""

    epoch: int
    exposure: float


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict changed."""

    verdict: str
    reason: str
    sentence: str
    severity: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class CommandIssued:
    command_id: str
    action: str
    sequence: int
    release_variant: str
    exposure: float
    reason: str


@dataclass(frozen=True, slots=True)
class CommandAcked:
    """A controller answered, or did not in time."""

    command_id: str
    controller: str
    instance: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExposuresCounted:
    """Requests that the treatment variant still served: in flight at the decision, and started after it."""

    command_id: str
    in_flight: int
    after_stop: int
    last_at: Micros | None
    first_harm_at: Micros | None


NOT_DECLARED = "variant not declared"
"""Of EvidenceRefused, the cause that on-call is told."""


@dataclass(frozen=True, slots=True)
class EvidenceRefused:
    """Rows that were not judged, by cause."""

    cause: str
    rows: int


@dataclass(frozen=True, slots=True)
class MonitorBlind:
    """The monitor cannot see what a run does, or sees it again.

    cause  see sight.Blindness; reason: the same with both numbers, as a sentence
    since  ledger time of the first tick without sight; until: of the first with sight again, None while it is blind
    """

    cause: str
    reason: str
    since: Micros
    until: Micros | None


@dataclass(frozen=True, slots=True)
class Spend:
    """What the treatment arm has cost since the last such entry, and ledger time of that one, or of the first cost."""

    nano_usd: int
    since: Micros


Conclusion = (
    RequestHandled
    | LifecycleChanged
    | EpochOpened
    | Finding
    | CommandIssued
    | CommandAcked
    | ExposuresCounted
    | EvidenceRefused
    | MonitorBlind
    | Spend
)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A conclusion, the ledger entry that led to it, and the hash of the experiment's entry before."""

    entry_id: str
    experiment: str
    number: int
    run: int
    epoch: int
    at: Micros
    ledger_partition: int
    ledger_offset: int
    ordinal: int
    previous: str
    conclusion: Conclusion = field(metadata={"union": True})


@dataclass(frozen=True, slots=True)
class SpendEntry(JournalEntry):
    """How a cost is written: with a schema of its own, so that entries of all other kinds keep their bytes."""

    conclusion: Spend


def encode(entry: JournalEntry) -> bytes:
    if isinstance(entry.conclusion, Spend):
        return records.encode("spend_entry", SpendEntry(**_fields(entry)))
    return records.encode("journal_entry", entry)


def decode(value: bytes | None) -> JournalEntry:
    found = records.decode(value, {"journal_entry": JournalEntry, "spend_entry": SpendEntry}, own=True)
    return JournalEntry(**_fields(found)) if isinstance(found, SpendEntry) else found


def _fields(entry: JournalEntry) -> dict[str, Any]:
    return {place.name: getattr(entry, place.name) for place in fields(entry)}


def hash_of(encoded: bytes) -> str:
    """sha256 over the exact bytes of an entry, hex: what the next entry carries as `previous`."""
    return hashlib.sha256(encoded).hexdigest()
