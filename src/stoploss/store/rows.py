"""What reads give back. Times are aware and in UTC; None is no data, or hidden, never 0."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Status:
    """An experiment as the registry last had it."""

    experiment: str
    lifecycle: str
    run: int
    epoch: int
    sequence: int
    release_variant: str
    exposure: float
    stopped_segments: list[str]
    command_id: str | None
    changed_at: datetime
    spec_hash: str
    ledger_partition: int


@dataclass(frozen=True, slots=True)
class SpecVersion:
    """A spec that was in force, as YAML, from `changed_at` on."""

    spec: str
    spec_hash: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """A journal entry; `conclusion` is all of it as JSON, and the ledger place is what led to it."""

    number: int
    at: datetime
    run: int
    epoch: int
    kind: str
    verdict: str | None
    severity: str | None
    rule: str | None
    metric: str | None
    segment_dimension: str | None
    segment_value: str | None
    sentence: str
    observed: float | None
    bound: float | None
    estimate: float | None
    lower: float | None
    upper: float | None
    margin: float | None
    n_control: int | None
    n_treatment: int | None
    command_id: str | None
    conclusion: str
    entry_id: str
    ledger_partition: int
    ledger_offset: int


@dataclass(frozen=True, slots=True)
class CommandAck:
    """What a controller answered, once verified, or that it did not in time; `at` is ledger time."""

    command_id: str
    controller: str
    instance: str
    status: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class PublishedCommand:
    """A command, and how often it was sent."""

    command_id: str
    run: int
    epoch: int
    sequence: int
    action: str
    release_variant: str
    exposure: float
    stopped_segments: list[str]
    reason: str
    rule: str | None
    metric: str | None
    segment_dimension: str | None
    segment_value: str | None
    observed: float | None
    bound: float | None
    n_control: int | None
    n_treatment: int | None
    decided_at: datetime
    dry_run: bool
    controllers: list[str]
    times_sent: int


@dataclass(frozen=True, slots=True)
class CommandWithAcks:
    command: PublishedCommand
    acks: tuple[CommandAck, ...]


@dataclass(frozen=True, slots=True)
class Arm:
    """A metric of a variant; no segment: everybody. In a hidden cell (too few rows) all numbers are None."""

    at: datetime
    run: int
    epoch: int
    variant: str
    segment_dimension: str | None
    segment_value: str | None
    metric: str
    n: int | None
    mean: float | None
    standard_deviation: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    hidden: bool


@dataclass(frozen=True, slots=True)
class HiddenCell:
    """A cell whose verdicts the measures of a run hid, and the ledger offset from which they showed it again; None:
    they have not."""

    run: int
    metric: str
    segment_dimension: str
    segment_value: str
    shown_from: int | None


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What a rule said at `at`, and what a verdict still lacks, in words. In a hidden cell (too few rows in an arm) all
    numbers are None."""

    at: datetime
    run: int
    epoch: int
    rule: str
    metric: str | None
    segment_dimension: str | None
    segment_value: str | None
    verdict: str
    reason: str
    observed: float | None
    bound: float | None
    estimate: float | None
    lower: float | None
    upper: float | None
    margin: float | None
    n_control: int | None
    n_treatment: int | None
    missing: str
    hidden: bool


@dataclass(frozen=True, slots=True)
class ExposuresAfterStop:
    """Requests that the treatment still served: in flight at the decision, and started after it."""

    command_id: str
    in_flight: int
    after_stop: int
    first_harm_at: datetime | None
    decided_at: datetime | None
    last_at: datetime | None

    @property
    def harm_to_last_ms(self) -> float | None:
        """From the first harmful trace to the last exposure; where none began after the stop, to the stop."""
        last = self.last_at or self.decided_at
        if self.first_harm_at is None or last is None:
            return None
        return (last - self.first_harm_at).total_seconds() * 1_000


@dataclass(frozen=True, slots=True)
class DeadLetterCount:
    stage: str
    code: str
    records: int
    example: str
    last_at: datetime


@dataclass(frozen=True, slots=True)
class TraceOrigin:
    """A stored trace by the place it came from; quarantined: why it was not judged, if so."""

    trace_id: str
    at: datetime
    topic: str
    partition: int
    offset: int
    variants: list[str]
    quarantined: str | None


@dataclass(frozen=True, slots=True)
class LedgerRecord:
    """A ledger entry as its exact bytes, where it stood, and the broker's time."""

    partition: int
    offset: int
    at_micros: int
    key: bytes | None
    value: bytes


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """A journal entry as its exact bytes."""

    number: int
    value: bytes
