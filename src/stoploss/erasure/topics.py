"""What Kafka still has of a unit, and until when: single records cannot be deleted there, they go by time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from stoploss.topics import TOPICS, Holds, Topic

FOREVER = "-1"


@dataclass(frozen=True, slots=True)
class TopicHolds:
    """gone_by: when the last record that stands there now is deleted; None: never, or nothing has to be."""

    topic: str
    holds: Holds
    gone_by: datetime | None


def topics_hold(
    now: datetime, name_of: Callable[[str], str], configs: Mapping[str, Mapping[str, str]]
) -> list[TopicHolds]:
    """Each topic that there is, by what it holds of people.

    configs  the broker's settings of each topic that there is, by its whole name
    """
    return [
        TopicHolds(name_of(topic.name), topic.holds, _gone_by(now, topic, configs[name_of(topic.name)]))
        for topic in TOPICS.values()
        if name_of(topic.name) in configs
    ]


def _gone_by(now: datetime, topic: Topic, config: Mapping[str, str]) -> datetime | None:
    """A segment is deleted whole, once its newest record is old enough; and it is written for segment.ms at most."""
    if topic.holds != "ids" or config["retention.ms"] == FOREVER:
        return None
    return now + timedelta(milliseconds=int(config["retention.ms"]) + int(config["segment.ms"]))
