"""What goes into intake's core and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stoploss.intake.dead_letters import Reject
from stoploss.intake.rows import ProjectedRows
from stoploss.ledger import RejectCount, Source

if TYPE_CHECKING:
    import polars as pl  # the roles that only refuse do without


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A Kafka record: its offset, its value as it came, and the broker's time in milliseconds (0 or less: none)."""

    offset: int
    value: bytes | None
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """Records of one source partition, in the order of their offsets; as columns, for an object each is a fifth of all
    that intake does.

    offsets    of each record
    values     as they came
    stamps_ms  the broker's time, milliseconds; 0 or less: none
    """

    source: Source
    offsets: Sequence[int]
    values: Sequence[bytes | None]
    stamps_ms: Sequence[int]

    @classmethod
    def of(cls, source: Source, records: Sequence[RawRecord]) -> Fetched:
        """From records one by one."""
        return cls(
            source,
            [record.offset for record in records],
            [record.value for record in records],
            [record.timestamp_ms for record in records],
        )

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Counts:
    """Records of a batch, each in exactly one of valid, rejected, quarantined and waiting.

    unassigned           valid records that belong to no experiment
    unknown_experiment   rows by the experiment that they name and the registry does not know; the names are bounded
    undeclared_outcome   outcome rows by "experiment/name" where the experiment declares no score of that name
    waiting              bare outcomes, which the resolver brings again
    rejected_by_variant  records rejected or quarantined, for watched experiments, where the assignment could be read
    """

    valid: int
    rejected: int
    quarantined: int
    unassigned: int
    unknown_experiment: Mapping[str, int] = field(default_factory=dict)
    undeclared_outcome: Mapping[str, int] = field(default_factory=dict)
    rejected_by_variant: tuple[RejectCount, ...] = ()
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """What the records of one source partition became.

    rows          experiment -> its rows, in the order of their offsets
    clean         masked frame for storage: one row per valid or quarantined record that belongs to an experiment
    rejects       for the dead letters, in the order of their offsets
    tripped_gate  whether a row of a watched experiment has a gate bit: then what waits is flushed at once
    """

    rows: Mapping[str, ProjectedRows]
    clean: pl.DataFrame
    rejects: list[Reject]
    counts: Counts
    tripped_gate: bool
