"""The bounded queue and the daemon thread behind it: the caller's side only counts and appends.

The producer lives in the thread's own frame and nowhere else. A fork finds the thread standing still, without one (see
pause.py); the child has neither the thread nor anything that refers to the parent's producer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Any

from confluent_kafka import KafkaException

from stoploss.emit.counters import Counters
from stoploss.emit.encoding import Encoded, Fields
from stoploss.emit.errors import Unsendable
from stoploss.emit.outlet import Outlet
from stoploss.emit.pause import Pause

LOG = logging.getLogger("stoploss.emit")
MOST_AT_ONCE = 500
FLUSH_STEP_S = 0.02
IDLE_WAIT_S = 1.0
GATHER_S = 0.005
QUIET_AFTER_S = 0.25
"""In a busy time the thread looks every 5 ms for what has gathered: a caller that had to wake it would pay for that."""
COUNTS_GRACE_S = 0.5
REPORT_EVERY_S = 10.0
FORK_WAIT_S = 0.5
"""A fork waits no longer for what is on the wire: a broker that stopped in between may never answer."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a kind of record goes, and how it becomes bytes."""

    topic: str
    encode: Callable[[Fields], Encoded]


Job = tuple[Route, Fields]


class Sign(Enum):
    """What may stand between the records in the queue."""

    END = "nothing follows"
    WAKE = "look around"


class Sender:
    """Takes records without blocking; encodes and produces them in a thread that starts with the first one.

    periodic    what else to send, asked every `every_s` and once at the end: cumulative counts
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        counters: Counters,
        periodic: Callable[[], list[Job]],
        every_s: float,
    ) -> None:
        self._config = config
        self._counters = counters
        self._periodic = periodic
        self._every_s = every_s
        self._queue: SimpleQueue[Job | Sign] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._deadline_s = float("inf")
        self._quiet_from_s = float("-inf")
        self._complaint = Complaint(counters)
        self._pause = Pause()

    def offer(self, route: Route, fields: Fields) -> None:
        """Queue a record, or count it as dropped where the bound is reached or the tracer is closed."""
        with self._counters.lock:
            if not self._counters.admit(closed=self._closed):
                return
            self._queue.put((route, fields))
            self.start()

    def close(self, timeout_s: float) -> None:
        """Deliver what is pending for at most `timeout_s`, count the rest as dropped, end the thread. Repeatable."""
        with self._counters.lock:
            if not self._closed:
                self._closed = True
                self._deadline_s = time.monotonic() + timeout_s
                self._queue.put(Sign.END)
            thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join(timeout_s + COUNTS_GRACE_S + IDLE_WAIT_S)

    def hold(self) -> bool:
        """Before a fork: see to it that no thread of the Kafka client lives. True: `resume` belongs to it."""
        thread = self._thread
        if thread is None or not thread.is_alive() or thread is threading.current_thread():
            return False
        self._queue.put(Sign.WAKE)
        self._pause.begin(FORK_WAIT_S)
        return True

    def resume(self) -> None:
        self._pause.end()

    def start(self) -> None:
        """Start the thread, once; needed where there is something to send periodically but no record yet."""
        if self._thread is None and not self._closed:
            with self._counters.lock:
                if self._thread is None and not self._closed:
                    self._thread = threading.Thread(target=self._run, name="stoploss-emit", daemon=True)
                    self._launch(self._thread)

    def _launch(self, thread: threading.Thread) -> None:
        try:
            thread.start()
        except RuntimeError:  # No thread to be had: the queue fills, and everything above the bound is counted.
            LOG.exception("the sending thread cannot start; traces are dropped")

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._pause.over()

    def _work(self) -> None:
        try:
            outlet = Outlet(self._config, self._counters, self._out_of_time)
        except (KafkaException, TypeError, ValueError) as error:
            LOG.error("no trace can be sent, since the Kafka client refuses its settings: %s", error)
            self._pause.over()
            self._discard("settings refused")
            return
        due_s = time.monotonic() + self._every_s
        open_ = True
        while open_:
            self._stand_still_for_forks(outlet)
            open_ = self._send_batch(outlet)
            outlet.poll()
            if time.monotonic() >= due_s:
                self._send_periodic(outlet)
                due_s += self._every_s
            self._complaint.speak_at_most_every(REPORT_EVERY_S)
        self._finish(outlet)

    def _stand_still_for_forks(self, outlet: Outlet) -> None:
        while self._pause.asked():
            if outlet.disconnect(FLUSH_STEP_S):
                self._pause.stand()

    def _send_batch(self, outlet: Outlet) -> bool:
        """Send what is queued; False once the end of the queue was read."""
        n = 0
        for job in self._queued():
            if job is Sign.END:
                return False
            if job is Sign.WAKE:
                return True
            self._send(outlet, job)
            n += 1
        if n or self._counters.pending():
            self._quiet_from_s = time.monotonic() + QUIET_AFTER_S
        return True

    def _queued(self) -> Iterator[Job | Sign]:
        """What has gathered. In a quiet time it waits for a first record, which then has to wake the thread."""
        quiet = time.monotonic() >= self._quiet_from_s
        try:
            if quiet:
                yield self._queue.get(timeout=min(IDLE_WAIT_S, self._every_s))
            elif not self._closed:
                time.sleep(GATHER_S)
            for _ in range(MOST_AT_ONCE):
                yield self._queue.get_nowait()
        except Empty:
            return

    def _send(self, outlet: Outlet, job: Job) -> None:
        encoded = self._encoded(job)
        if encoded is None:
            self._counters.lost("invalid")
        else:
            outlet.produce(job[0].topic, encoded.key, encoded.value, counted=True)

    def _send_periodic(self, outlet: Outlet) -> None:
        for job in self._periodic():
            if (encoded := self._encoded(job)) is not None:
                outlet.produce(job[0].topic, encoded.key, encoded.value, counted=False)

    def _encoded(self, job: Job) -> Encoded | None:
        """The record as bytes; None where it cannot be sent. What is wrong with it is counted."""
        route, fields = job
        try:
            encoded = route.encode(fields)
        except Unsendable as error:
            self._counters.invalid(error.reason)
            return None
        except Exception as error:  # noqa: BLE001  The service's own objects may raise anything when they are read.
            self._counters.invalid(f"{type(error).__name__} while encoding")
            return None
        for reason in encoded.reasons:
            self._counters.invalid(reason)
        return encoded

    def _finish(self, outlet: Outlet) -> None:
        self._send_periodic(outlet)
        while self._counters.pending() and not self._out_of_time():
            outlet.flush(FLUSH_STEP_S)
        outlet.flush(COUNTS_GRACE_S)
        outlet.close()
        self._complaint.speak()

    def _discard(self, cause: str) -> None:
        """Without a producer every record is lost, but each is counted."""
        while (job := self._queue.get()) is not Sign.END:
            if job is not Sign.WAKE:
                self._counters.lost(cause)
            self._complaint.speak_at_most_every(REPORT_EVERY_S)

    def _out_of_time(self) -> bool:
        return time.monotonic() >= self._deadline_s


class Complaint:
    """Says in the log what was dropped or invalid since it last spoke."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._said = (0, 0)
        self._spoke_s = float("-inf")

    def speak_at_most_every(self, interval_s: float) -> None:
        if time.monotonic() - self._spoke_s >= interval_s:
            self.speak()

    def speak(self) -> None:
        stats = self._counters.snapshot()
        counts = (sum(stats.dropped.values()), sum(stats.invalid.values()))
        if counts == self._said:
            return
        self._said = counts
        self._spoke_s = time.monotonic()
        LOG.warning(
            "since the start: %d of %d records dropped %s, %d values invalid %s",
            counts[0],
            stats.recorded,
            dict(stats.dropped),
            counts[1],
            dict(stats.invalid),
        )
