"""The topics: what each carries, how it is kept. One table for creating them, printing them and checking them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Holds = Literal["ids", "hashes", "nothing"]
"""What a topic holds of people: their ids, and perhaps texts; keyed hashes of their ids; or nothing."""

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
WEEK_MS = 7 * DAY_MS
SEGMENT_MS = 6 * HOUR_MS
LARGEST_RECORD = 1_048_588


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic.

    name          without the prefix
    carries       what stands in it
    fixed         true: partitioned by experiment, with one partition count for all such topics, for good
    partitions    of a topic that is not fixed; None: as many as the sources have
    compact       keep the last record of each key; otherwise delete after retention_ms
    append_time   timestamps are the broker's, on append
    holds         of people; what holds ids is cut into segments of SEGMENT_MS, for a segment is deleted whole
    """

    name: str
    carries: str
    fixed: bool = False
    partitions: int | None = None
    compact: bool = False
    retention_ms: int = DAY_MS
    append_time: bool = False
    holds: Holds = "nothing"

    def config(self) -> Mapping[str, str]:
        base = {"cleanup.policy": "compact" if self.compact else "delete"}
        if not self.compact:
            base["retention.ms"] = str(self.retention_ms)
        if self.holds == "ids":
            base["segment.ms"] = str(SEGMENT_MS)
        if self.append_time:
            base["message.timestamp.type"] = "LogAppendTime"
        return base


FOR_GOOD = -1

TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic("traces", "one Trace per request", append_time=True, holds="ids"),
        Topic("outcomes", "late facts about a trace", append_time=True, holds="ids"),
        # These keep the stamps of their originals, so that a fact is held against the time at which it was told.
        Topic(
            "outcomes_resolved",
            "bare outcomes in the context of their trace",
            retention_ms=WEEK_MS,
            holds="ids",
        ),
        Topic(
            "outcomes_retry_1m",
            "bare outcomes that wait for their trace",
            partitions=1,
            retention_ms=WEEK_MS,
            holds="ids",
        ),
        Topic("outcomes_retry_10m", "the same, for longer", partitions=1, retention_ms=WEEK_MS, holds="ids"),
        Topic("outcomes_retry_1h", "the same, for the last time", partitions=1, retention_ms=WEEK_MS, holds="ids"),
        Topic("otlp_spans", "spans, as an OpenTelemetry Collector's kafka exporter writes them", holds="ids"),
        Topic("otlp_logs", "log events, likewise: flag evaluations, evaluations of answers", holds="ids"),
        Topic("assignments", "assignment counts of services, every 10 s"),
        Topic("experiments", "requests by people and CI", partitions=1, retention_ms=FOR_GOOD, append_time=True),
        Topic(
            "ledger",
            "the totally ordered facts of each experiment",
            fixed=True,
            retention_ms=FOR_GOOD,
            append_time=True,
            holds="hashes",
        ),
        Topic("journal", "everything the monitor concluded", fixed=True, retention_ms=FOR_GOOD),
        Topic("checkpoints", "signatures under the journals", fixed=True, retention_ms=FOR_GOOD),
        Topic("measures", "running state, to plot", fixed=True, retention_ms=WEEK_MS),
        Topic("control", "signed commands", fixed=True, retention_ms=30 * DAY_MS),
        Topic("acks", "controllers' answers", retention_ms=30 * DAY_MS),
        Topic("leases", "the monitor's sign of life", fixed=True, retention_ms=600_000, append_time=True),
        Topic("registry", "spec, lifecycle and desired state of each experiment", fixed=True, compact=True),
        Topic("snapshots", "the judge's state and its cursors", fixed=True, compact=True, holds="hashes"),
        Topic("schemas", "by which workers of each version write", partitions=1, compact=True),
        Topic(
            "policy", "the organisation's policy in force, and whether the line is stopped", partitions=1, compact=True
        ),
        Topic("traces_clean", "masked and validated batches for the recorder", holds="ids"),
        Topic("deadletter", "what could not be read", retention_ms=WEEK_MS, holds="ids"),
    )
}


@dataclass(frozen=True, slots=True)
class Names:
    """Topic names of an installation: `names("ledger")` is "stoploss.ledger"."""

    prefix: str = "stoploss."
    known: Mapping[str, Topic] = field(default_factory=lambda: TOPICS)

    def __call__(self, name: str) -> str:
        if name not in self.known:
            raise KeyError(f"no topic {name!r}; topics: {', '.join(self.known)}")
        return f"{self.prefix}{name}"
