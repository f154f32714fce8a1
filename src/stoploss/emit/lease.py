"""Whether the monitor watches: a service gives everybody the control variant once it has not heard a lease in time.

A lease counts when a trusted key signed it, when it was read at the end of the log and not out of a backlog, when its
watermark rises, and when the broker took it soon after the canary's row that it stands on: a judge that catches up
after an outage signs leases too, and they are old. Time is the service's own monotonic clock and nobody's wall clock.

    leases = LeaseReader("127.0.0.1:9092", public_keys=[Path("monitor.pub")])
    assignment = leases.or_control(assignment, control="current")
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from stoploss.emit.assignment import NO_RUN, Assignment
from stoploss.emit.clock import Clock
from stoploss.emit.follow import Follower, consumer_settings
from stoploss.errors import CommandRefused, WireError
from stoploss.leases import Lease, LeasedRun
from stoploss.leases.message import Headers, read_lease
from stoploss.signing import Verifier

log = logging.getLogger("stoploss.emit.lease")

LEASE_S = 60.0
LATCH_AFTER_S = 300.0
BACKLOG_PART = 3
"""After a silence of a third of the lease time, what comes next may be a backlog: it is passed over."""


class Standing(StrEnum):
    """What a service knows of a run: it is watched, not heard of yet, not watched any more, or for too long not."""

    HELD = "held"
    UNKNOWN = "unknown"
    LAPSED = "lapsed"
    LATCHED = "latched"


@dataclass(frozen=True, slots=True)
class _Heard:
    run: int
    at_s: float
    latched: bool = False


class Leases:
    """The leases that were heard; no Kafka in here.

    One thread renews and any may ask: what they share is a mapping that is replaced whole, so no lock can be held over
    a fork.
    """

    def __init__(
        self,
        monotonic_s: Callable[[], float],
        *,
        lease_s: float = LEASE_S,
        latch_after_s: float = LATCH_AFTER_S,
    ) -> None:
        self.lease_s, self.latch_after_s = lease_s, latch_after_s
        self._monotonic_s = monotonic_s
        self._heard: Mapping[str, _Heard] = {}
        self._watermarks: dict[int, int] = {}

    def renew(self, lease: Lease) -> None:
        """A lease read at the end of the log; one whose watermark does not rise says nothing new."""
        if lease.watermark <= self._watermarks.get(lease.partition, -1):
            return
        self._watermarks[lease.partition] = lease.watermark
        self._heard = {**self._heard, **{leased.experiment: self._renewed(leased) for leased in lease.experiments}}

    def _renewed(self, leased: LeasedRun) -> _Heard:
        """A higher run is a person's resume: it ends a latch. A lower one is never gone back to."""
        now_s, before = self._monotonic_s(), self._heard.get(leased.experiment)
        if before is None or leased.run > before.run:
            return _Heard(leased.run, now_s)
        if leased.run < before.run:
            return before
        return _Heard(before.run, now_s, latched=self._latched(before, now_s))

    def _latched(self, heard: _Heard, now_s: float) -> bool:
        return heard.latched or now_s - heard.at_s > self.lease_s + self.latch_after_s

    def standing(self, experiment: str, run: int | None = None) -> Standing:
        """Of a run, or of whichever run was heard of last where the service does not know its number."""
        heard, now_s = self._heard.get(experiment), self._monotonic_s()
        if heard is None or (run is not None and run > heard.run):
            return Standing.UNKNOWN
        if self._latched(heard, now_s) and run in (None, heard.run):
            return Standing.LATCHED
        in_time = now_s - heard.at_s <= self.lease_s
        return Standing.HELD if in_time and run in (None, heard.run) else Standing.LAPSED


class LeaseReader:
    """Hears leases in a thread of its own; make it after fork(), one per process.

    bootstrap        Kafka's addresses; None: `consumer_config` names them
    public_keys      the monitor's, several while one is being changed
    lease_s          how long a lease holds; a multiple of the time between two canaries
    latch_after_s    after a lapse this long the run stays in control until a person resumes the experiment
    consumer_config  settings of librdkafka, such as security.protocol
    """

    def __init__(
        self,
        bootstrap: str | None = None,
        *,
        public_keys: Sequence[Path],
        topic: str = "stoploss.leases",
        lease_s: float = LEASE_S,
        latch_after_s: float = LATCH_AFTER_S,
        consumer_config: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        monotonic_s = (clock or Clock()).monotonic_s
        self.leases = Leases(monotonic_s, lease_s=lease_s, latch_after_s=latch_after_s)
        self._verifier = Verifier.load(*public_keys)
        self._monotonic_s = monotonic_s
        self._read_at_s: dict[int, float] = {}
        self._began_s = monotonic_s()
        self._follower = Follower(consumer_settings(bootstrap, consumer_config or {}), topic, self.take)
        self._follower.begin()

    def or_control(self, assignment: Assignment, control: str) -> Assignment:
        """The assignment while the monitor watches its run; else the control variant, stamped as no run's.

        Who has to agree to take part and has not gets the control variant too.
        """
        watched = self.leases.standing(assignment.experiment, assignment.run) is Standing.HELD
        if watched and not assignment.lacks_consent:
            return assignment
        return replace(assignment, variant=control, run=NO_RUN, epoch=NO_RUN)

    def standing(self, experiment: str, run: int | None = None) -> Standing:
        return self.leases.standing(experiment, run)

    def close(self) -> None:
        self._follower.close()

    def take(self, message: Message) -> bool:
        """Counts a lease; False where it may stand in a backlog, and reading has to go on at the end of the log."""
        partition, now_s = message.partition() or 0, self._monotonic_s()
        silent_s = now_s - self._read_at_s.get(partition, self._began_s)
        self._read_at_s[partition] = now_s
        if silent_s > self.leases.lease_s / BACKLOG_PART:
            return False
        if (lease := self._read(message)) is not None and self._is_fresh(lease, message):
            self.leases.renew(lease)
        return True

    def _read(self, message: Message) -> Lease | None:
        try:
            return read_lease(message.value(), cast("Headers", message.headers() or ()), self._verifier)
        except (CommandRefused, WireError) as refusal:
            log.warning("a lease is refused: %s", refusal)
            return None

    def _is_fresh(self, lease: Lease, message: Message) -> bool:
        """Between the canary's row and the lease lies the judge alone; both times are the broker's."""
        kind, appended_ms = message.timestamp()
        old_s = appended_ms / 1e3 - lease.at / 1e6
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            log.warning("a lease does not count: its topic must have message.timestamp.type=LogAppendTime")
        elif abs(old_s) > self.leases.lease_s:
            log.warning("a lease does not count: the judge was %.0f s behind when it gave it", old_s)
        else:
            return True
        return False
