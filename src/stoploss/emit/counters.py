"""What became of every record, counted under one lock: nothing is lost without standing here."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

MOST_REASONS = 200
"""Distinct reasons and assignments kept apart; more of them are a service's mistake, and count as `other`."""
OTHER = "other"
NO_VARIANT = (OTHER, OTHER)

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the tracer started; recorded == delivered + pending + sum(dropped.values()).

    recorded     traces and outcomes handed to the tracer
    pending      of these, on the way: in the queue, or with Kafka and not acknowledged yet
    sent         handed to the Kafka client
    delivered    acknowledged by Kafka
    dropped      lost, by cause: queue_full, closed, invalid, settings refused,
                 not_delivered_at_close, kafka: NAME
    invalid      values that could not be sent as they were, by "field: reason"; a record may have several, and goes
                 without the optional ones
    assignments  requests begun, by (experiment, variant)
    """

    recorded: int
    pending: int
    sent: int
    delivered: int
    dropped: Mapping[str, int]
    invalid: Mapping[str, int]
    assignments: Mapping[tuple[str, str], int]


class Counters:
    """The counts behind Stats, and the bound on what is pending.

    The lock is re-entrant: a signal handler or a finaliser may record while its own thread stands in here.
    """

    def __init__(self, bound: int) -> None:
        self.lock = threading.RLock()
        self._emptied = threading.Condition(self.lock)
        self._bound = bound
        self._recorded = self._pending = self._sent = self._delivered = 0
        self._dropped: Counter[str] = Counter()
        self._invalid: Counter[str] = Counter()
        self._assignments: Counter[tuple[str, str]] = Counter()

    def admit(self, *, closed: bool) -> bool:
        """Take a place for a record, or count it as dropped. Call with the lock held."""
        self._recorded += 1
        if closed or self._pending >= self._bound:
            self._dropped["closed" if closed else "queue_full"] += 1
            return False
        self._pending += 1
        return True

    def sent(self) -> None:
        with self.lock:
            self._sent += 1

    def delivered(self) -> None:
        with self.lock:
            self._delivered += 1
            self._release()

    def lost(self, cause: str) -> None:
        with self.lock:
            self._dropped[_bounded(self._dropped, cause, OTHER)] += 1
            self._release()

    def invalid(self, reason: str) -> None:
        with self.lock:
            self._invalid[_bounded(self._invalid, reason, OTHER)] += 1

    def begun(self, experiment: str, variant: str) -> None:
        with self.lock:
            self._assignments[_bounded(self._assignments, (experiment, variant), NO_VARIANT)] += 1

    def wait_until_empty(self, timeout_s: float) -> bool:
        with self._emptied:
            return self._emptied.wait_for(lambda: self._pending == 0, timeout_s)

    def pending(self) -> int:
        with self.lock:
            return self._pending

    def snapshot(self) -> Stats:
        with self.lock:
            return Stats(
                recorded=self._recorded,
                pending=self._pending,
                sent=self._sent,
                delivered=self._delivered,
                dropped=dict(self._dropped),
                invalid=dict(self._invalid),
                assignments=dict(self._assignments),
            )

    def _release(self) -> None:
        self._pending -= 1
        if self._pending == 0:
            self._emptied.notify_all()


def _bounded(counts: Counter[K], key: K, other: K) -> K:
    return key if key in counts or len(counts) < MOST_REASONS else other
