"""The ledger: the totally ordered facts of each experiment. What goes into the judge, and nothing else does."""

from __future__ import annotations

from dataclasses import dataclass

from stoploss.commands import Micros
from stoploss.wire import records


@dataclass(frozen=True, slots=True)
class Source:
    """A partition of a source topic; a topic that was deleted and made again has another UUID."""

    topic: str
    topic_uuid: str
    partition: int

    @property
    def key(self) -> str:
        return f"{self.topic_uuid}/{self.partition}"


@dataclass(frozen=True, slots=True)
class SegmentColumn:
    """A dimension of a block: dictionary, and uint16 codes per row (65535: the row has none)."""

    dimension: str
    values: tuple[str, ...]
    codes: bytes


@dataclass(frozen=True, slots=True)
class MetricColumn:
    """A metric of a block: int64 per row in `unit`; the smallest int64 where the row has none."""

    name: str
    unit: str
    values: bytes


@dataclass(frozen=True, slots=True)
class EvidenceBlock:
    """Rows of one experiment as packed little-endian columns; see schemas/evidence_block.avsc for each."""

    experiment: str
    spec_hash: str
    rows: int
    outcomes: bool
    sources: tuple[Source, ...]
    source: bytes
    offset: bytes
    unit: bytes
    trace: bytes
    variant: bytes
    at: bytes
    start: bytes
    stamp_run: bytes
    stamp_epoch: bytes
    gates: bytes
    gate_names: tuple[str, ...]
    gate_details: tuple[str, ...]
    segments: tuple[SegmentColumn, ...]
    metrics: tuple[MetricColumn, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A person's or CI's request; in the ledger with the registrar's opinion.

    experiment  empty for what is of all (lifecycle.OF_ALL), which every ledger partition is told
    body        what the action carries beyond its reason, as JSON of its own form
    key_id      key of the person who signed it, as the registrar verified; None: no roles are kept
    edition     of the rules for requests that the judge holds it to, set by the registrar; None: it is older than they
    """

    request_id: str
    experiment: str
    action: str
    by: str
    reason: str
    at: Micros
    spec: str | None = None
    spec_hash: str | None = None
    exposure: float | None = None
    partition: int | None = None
    accepted: bool | None = None
    opinion: str | None = None
    source: str | None = None
    body: str | None = None
    key_id: str | None = None
    edition: int | None = None

    @property
    def freezes(self) -> bool:
        """Of a registration: it leaves a spec that is in force as it is, and does not take its place."""
        return self.edition is not None


EDITION = 2
"""What a registrar writes into each request, so that one in an older ledger is still answered as it was then.

1: a registration changes no spec in force; a completion has a reason; failed offline results count.
2: an amendment waits until the last command is applied.
"""


@dataclass(frozen=True, slots=True)
class AckReceived:
    """A controller's ack, as the courier read it; alive and left: the courier's word that an instance must be asked."""

    experiment: str
    command_id: str
    controller: str
    instance: str
    status: str
    reason: str
    at: Micros
    run: int
    sequence: int
    source: str


@dataclass(frozen=True, slots=True)
class AckOverdue:
    """A required controller has not applied a command in time, by the courier's clock."""

    experiment: str
    command_id: str
    controller: str
    waited_ms: int
    resent: int
    run: int
    sequence: int
    instance: str = ""


@dataclass(frozen=True, slots=True)
class RejectCount:
    experiment: str
    variant: str
    count: int


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How far intake has read one source partition; addressed to every experiment of the ledger partition."""

    source: Source
    offset: int
    lag: int
    valid: int
    rejected: int
    quarantined: int
    unassigned: int
    unknown_experiment: int
    rejected_by_variant: tuple[RejectCount, ...]
    at: Micros


@dataclass(frozen=True, slots=True)
class BegunCount:
    variant: str
    count: int


@dataclass(frozen=True, slots=True)
class AssignmentsCounted:
    """Requests that services say they have begun in an experiment since the last such fact."""

    experiment: str
    begun: tuple[BegunCount, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A second has passed on a ledger partition; its time is the broker's."""

    partition: int
    owner: str


@dataclass(frozen=True, slots=True)
class JudgeVersion:
    """From here on this version judges the ledger partition."""

    partition: int
    stoploss: str
    python: str
    numpy: str
    river: str
    tzdata: str
    rules: str

    @property
    def text(self) -> str:
        """What has to be equal for a replay to give equal bytes."""
        return f"stoploss {self.stoploss} numpy {self.numpy} river {self.river} tzdata {self.tzdata} {self.rules}"


Fact = EvidenceBlock | Request | AckReceived | AckOverdue | SourceStatus | AssignmentsCounted | Tick | JudgeVersion
FACTS: dict[str, type[Fact]] = {
    "evidence_block": EvidenceBlock,
    "request": Request,
    "ack_received": AckReceived,
    "ack_overdue": AckOverdue,
    "source_status": SourceStatus,
    "assignments_counted": AssignmentsCounted,
    "tick": Tick,
    "judge_version": JudgeVersion,
}
SCHEMA_OF = {fact: name for name, fact in FACTS.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact and where it stands: partition, offset, and the broker's LogAppendTime in microseconds."""

    partition: int
    offset: int
    at: Micros
    fact: Fact


def encode(fact: Fact) -> bytes:
    return records.encode(SCHEMA_OF[type(fact)], fact)


def decode(value: bytes | None) -> Fact:
    """Raises WireError where the value is no whole fact."""
    return records.decode(value, FACTS, own=True)


def key_of(fact: Fact) -> bytes | None:
    """Kafka key: the experiment; none for what speaks to the whole partition."""
    experiment = getattr(fact, "experiment", None)
    return experiment.encode() if experiment is not None else None
