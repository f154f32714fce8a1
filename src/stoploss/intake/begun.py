"""Requests that services have begun, by their own counts: what each instance's has grown by since the last look."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass

from stoploss.commands import Micros
from stoploss.ledger import AssignmentsCounted, BegunCount
from stoploss.wire import records

MOST_COUNTS = 65_536
"""Counts of instances kept, those heard last; one that is forgotten begins anew."""


@dataclass(frozen=True, slots=True)
class AssignmentCount:
    """How many requests one instance of a service has begun in a variant since it started; see its schema."""

    service: str
    instance: str
    at: Micros
    experiment: str
    variant: str
    count: int
    interval_s: float


def decode(value: bytes | None) -> AssignmentCount:
    """Raises WireError where the value is no whole count."""
    return records.decode(value, {"assignment_count": AssignmentCount})


class Begun:
    """Differences of counts that only grow. The first one that is heard of an instance is where it is counted from."""

    def __init__(self, most: int = MOST_COUNTS) -> None:
        self._most = most
        self._counts: OrderedDict[tuple[str, str, str, str], int] = OrderedDict()
        self._begun: dict[str, Counter[str]] = {}

    def take(self, count: AssignmentCount) -> None:
        key = (count.service, count.instance, count.experiment, count.variant)
        before = self._counts.pop(key, None)
        self._counts[key] = max(count.count, before or 0)
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)
        if before is not None and count.count > before:
            self._begun.setdefault(count.experiment, Counter())[count.variant] += count.count - before

    def facts(self, source: str) -> list[AssignmentsCounted]:
        """What has been begun since the last call, one fact for each experiment."""
        begun, self._begun = self._begun, {}
        return [
            AssignmentsCounted(
                experiment, tuple(BegunCount(variant, count) for variant, count in sorted(variants.items())), source
            )
            for experiment, variants in sorted(begun.items())
        ]
