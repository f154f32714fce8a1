"""Who of several workers is given the partitions, where one has to have them all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from streams.standby import SoleAssignor

TOPICS = {"control": {0, 1, 2}, "acks": {0, 1}}
CLUSTER = cast(Any, SimpleNamespace(partitions_for_topic=TOPICS.get))


def test_one_member_has_everything_and_the_others_nothing() -> None:
    given = SoleAssignor.assign(CLUSTER, {name: SoleAssignor.metadata(set(TOPICS)) for name in ("b", "a", "c")})
    everything = {(topic, number) for topic, partitions in TOPICS.items() for number in partitions}
    assert {name: _partitions(one) for name, one in given.items()} == {"a": everything, "b": set(), "c": set()}


def test_another_has_everything_once_the_first_is_gone() -> None:
    given = SoleAssignor.assign(CLUSTER, {"c": SoleAssignor.metadata(set(TOPICS))})
    assert len(_partitions(given["c"])) == 5


def _partitions(assignment: Any) -> set[tuple[str, int]]:
    return {(topic, number) for topic, partitions in assignment.assignment for number in partitions}
