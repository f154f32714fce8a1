"""How far each partition of a source is read: what the judge knows of its sources, and is blind without."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from stoploss import ledger
from stoploss.intake.results import Counts
from stoploss.ledger import RejectCount, Source, SourceStatus
from streams.appender import Appender

STATUS_EVERY_S = 1.0


@dataclass(slots=True)
class Totals:
    """Counts of one source partition since this worker took it over; `done` is the next offset that is not stored."""

    done: int
    valid: int = 0
    rejected: int = 0
    quarantined: int = 0
    unassigned: int = 0
    unknown: int = 0
    by_variant: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, counts: Counts, done: int) -> None:
        self.done = done
        self.valid += counts.valid
        self.rejected += counts.rejected
        self.quarantined += counts.quarantined
        self.unassigned += counts.unassigned
        self.unknown += sum(counts.unknown_experiment.values())
        for reject in counts.rejected_by_variant:
            self.by_variant[reject.experiment, reject.variant] += reject.count

    def status(self, source: Source, end: int) -> SourceStatus:
        """end: of the partition's log, as far as it is known."""
        return SourceStatus(
            source=source,
            offset=self.done,
            lag=max(0, end - self.done),
            valid=self.valid,
            rejected=self.rejected,
            quarantined=self.quarantined,
            unassigned=self.unassigned,
            unknown_experiment=self.unknown,
            rejected_by_variant=tuple(RejectCount(*key, count) for key, count in sorted(self.by_variant.items())),
            at=time.time_ns() // 1_000,
        )


def tell(appender: Appender, topic: str, statuses: Collection[SourceStatus], partitions: Iterable[int]) -> None:
    """Each status on each of these ledger partitions; blocks until they are delivered."""
    for partition in sorted(partitions):
        for status in statuses:
            appender.append(topic, ledger.encode(status), partition=partition)
    appender.flush()
