"""The journal: everything the monitor concluded, append-only, chained by hash within an experiment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

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


def encode(entry: JournalEntry) -> bytes:
    return records.encode("journal_entry", entry)


def decode(value: bytes | None) -> JournalEntry:
    return records.decode(value, {"journal_entry": JournalEntry}, own=True)


def hash_of(encoded: bytes) -> str:
    """sha256 over the exact bytes of an entry, hex: what the next entry carries as `previous`."""
    return hashlib.sha256(encoded).hexdigest()
