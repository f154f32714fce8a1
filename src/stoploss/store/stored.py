"""A record as it stands in Kafka: the recorder's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stoploss.commands import Micros


@dataclass(frozen=True, slots=True)
class Stored:
    """A consumed Kafka record with its place.

    topic_uuid    Kafka's UUID of the topic; one that was deleted and made again has another
    timestamp_ms  of the record, milliseconds since 1970-01-01 UTC; the broker's where the topic has LogAppendTime
    value         None: a tombstone of a compacted topic
    """

    topic: str
    topic_uuid: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def at(self) -> Micros:
        return self.timestamp_ms * 1_000

    def row_id(self, ordinal: int = 0) -> dict[str, Any]:
        """The columns that say where a row came from; `ordinal` counts the rows of one record."""
        return {
            "topic": self.topic,
            "topic_uuid": self.topic_uuid,
            "partition": self.partition,
            "offset": self.offset,
            "ordinal": ordinal,
        }

    def header(self, name: str) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)
