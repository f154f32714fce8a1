"""A thread that ends the process when its event loop, its agents or its reader have stopped moving.

Faust can go quiet without dying: a recovery that ends silently, an agent that hangs, a loop that is blocked.
Such a worker keeps its partitions and heartbeats for ever. So somebody outside the event loop has to look.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from streams.batches import Partition
from streams.member import Limits


class Watchdog(threading.Thread):
    """Asks `complaint(now, since)` each interval and hands the first sentence it gets to `fail`.

    since: ages count from here at the earliest. It moves when the whole process was frozen (SIGSTOP, a
    suspended machine): nobody could have made progress in that time.
    """

    def __init__(
        self, complaint: Callable[[float, float], str | None], fail: Callable[[str], None], *, interval_s: float
    ) -> None:
        super().__init__(name="stoploss-watchdog", daemon=True)
        self._complaint = complaint
        self._fail = fail
        self._interval_s = interval_s
        self._stopped = threading.Event()

    def run(self) -> None:
        since = last = monotonic()
        while not self._stopped.wait(self._interval_s):
            now = monotonic()
            if now - last > 3 * self._interval_s:
                since = now
            last = now
            if why := self._complaint(now, since):
                self._fail(why)
                return

    def stop(self) -> None:
        self._stopped.set()


def overdue(partition: Partition, limits: Limits, now_s: float, since_s: float) -> str | None:
    """A sentence about a restore that does not end or a batch that nobody completes; None when all is well."""
    since_s = max(since_s, partition.alive_at_s)
    name = f"{partition.tp.topic}-{partition.tp.partition}"
    starting_s = now_s - max(partition.taken_at_s, since_s)
    if partition.next_offset is None and starting_s > limits.restore_timeout_s:
        return f"{name} was assigned {starting_s:.0f} s ago and its restore has not ended"
    if (oldest := partition.oldest_outstanding) is None:
        return None
    offset, progress_at_s = oldest
    idle_s = now_s - max(progress_at_s, since_s)
    if idle_s > limits.progress_timeout_s:
        return f"{name}: the batch at offset {offset} was delivered but nothing has been completed for {idle_s:.0f} s"
    return None
