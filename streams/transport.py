"""Faust's Kafka transport, changed to hand an agent ONE event per (partition, fetched batch).

Written against faust-streaming 0.15.3, mode-streaming 0.7.1 and aiokafka 0.14.0, all pinned: this overrides
their internals. What is replaced, and what would go wrong without it:

- the fetch loop: one event per fetch, and what was fetched but not delivered is always fetched again;
- the fetching itself: librdkafka's (fetching.py), several times as fast, beside aiokafka's membership;
- the commit: from our own book of completed batches, never from Faust's acks, bounded in time, and remembered
  only when the broker took it;
- seeking after a rebalance: Faust stops reading for ever, without a word, when a seek takes longer than
  broker_request_timeout. Here each partition finds its start in a task of its own, while the others flow;
- wait_empty: has a deadline, so a stuck agent cannot hold up the whole group;
- isolation: Faust reads uncommitted records unless it runs its own transactions;
- membership: an idle worker stays a member, and one that cannot prove it still is a member owns nothing.

Partitions are never paused, and holes between offsets are normal (commit markers, compaction).
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import count
from time import monotonic
from typing import Any, ClassVar, cast

from confluent_kafka import KafkaException, Message
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, AppT
from faust.types.transports import TPorTopicSet
from mode import Service, ServiceT

from stoploss.errors import ConfigurationError
from stoploss.ledger import Source
from streams.admin import Admin
from streams.batches import Batch, Partition, StaleBatch, Unread, offset_of
from streams.event import event_of
from streams.fetching import Fetcher, FetchThread
from streams.measuring import STALL
from streams.member import LEAVE_TIMEOUT_S, Limits, MemberThread
from streams.watchdog import Watchdog, overdue

Restore = Callable[[TP], Awaitable[int | None]]

EXIT_CODE = os.EX_SOFTWARE  # 70: this worker could not go on; whoever supervises it starts another
FETCH_TIMEOUT_S = 1.0
HELD_BACK_POLL_S = 0.01  # while a partition is full or starting: a fetch that waits does not wait for it as well
HOLD_S = 0.5  # all wait so long for a full one: to leave it out and take it in again costs what was read ahead of it
IDLE_POLL_S = 0.1
MANY_RECORDS = 1_000  # a fetch of fewer costs the worker about as much as one of a single record


class BatchConsumer(driver.Consumer):
    """Reads batches, keeps the book of what is complete, commits it.

    For agents, on the event loop: begin, owns, complete, fail. For timers and status: owned, progress.
    """

    limits: ClassVar[Limits] = Limits()
    alone: ClassVar[bool] = False
    bootstrap: ClassVar[str]
    batch_topics: ClassVar[frozenset[str]] = frozenset()

    _thread: MemberThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._partitions: dict[TP, Partition] = {}
        self._starts: dict[TP, asyncio.Task[None]] = {}
        self._generations = count(1)
        self._committing = asyncio.Lock()
        self._failing = False
        self._ticked_at_s = self._polled_at_s = self._sound_at_s = monotonic()
        super().__init__(*args, **kwargs)
        self._reader = FetchThread(Fetcher(self.bootstrap, self.app.conf.id, self.limits))
        self._admin = Admin(self.bootstrap)
        self._full_since_s: float | None = None
        self._watchdog = Watchdog(self._complaint, self.fail, interval_s=self.limits.watch_interval_s)

    def _new_consumer_thread(self) -> MemberThread:
        thread = MemberThread(self, loop=self.loop, beacon=self.beacon)
        thread.limits, thread.alone = self.limits, self.alone
        return thread

    async def restored_offset(self, tp: TP) -> int | None:
        """The offset to start a partition at; None: the group's committed one. See make_transport."""

    # ---- for agents ----------------------------------------------------------------------------

    def owns(self, batch: Batch) -> bool:
        """Ask right before every effect outside this process. False: drop the batch, it is read again."""
        partition = self._partitions.get(batch.tp)
        if partition is None or partition.generation != batch.generation or self._failing:
            return False
        if not self._thread.is_member():
            partition.fenced = True
        return not partition.fenced

    def begin(self, batch: Batch) -> None:
        """Call before work on a batch starts, in the order of delivery. Raises StaleBatch, BatchMisuse."""
        if not self.owns(batch):
            raise StaleBatch(f"{batch} is no longer this worker's: drop it, its owner is given it again")
        self._partitions[batch.tp].begin(batch)

    def complete(self, batch: Batch) -> bool:
        """All effects of the batch are durable. False: it was not this worker's any more and is read again.

        Batches may be completed in any order; the commit waits for the older ones. Raises BatchMisuse.
        """
        partition = self._partitions.get(batch.tp)
        if partition is None or partition.generation != batch.generation or partition.fenced:
            return False
        partition.complete(batch, monotonic())
        return True

    def lives(self, tps: Iterable[TP] | None = None) -> None:
        """A restore or a batch of these partitions, by default of all, takes long but gets on, or waits for others.

        The watchdog counts from here. From any thread; to be said at each step, by no timer.
        """
        for tp, partition in list(self._partitions.items()):
            if tps is None or tp in tps:
                partition.alive_at_s = monotonic()

    def fail(self, why: str, cause: BaseException | None = None) -> None:
        """End this process with exit code 70, nothing flushed, nothing committed. From any thread.

        From here on this worker owns nothing. It leaves the group if that can be done within seconds, so that
        its partitions move at once.
        """
        if self._failing:
            return
        self._failing = True
        self.log.critical("%s; this worker ends with exit code %d", why, EXIT_CODE, exc_info=cause)
        deadline = threading.Timer(LEAVE_TIMEOUT_S + 0.5, os._exit, [EXIT_CODE])
        deadline.daemon = True
        deadline.start()
        if self._thread.thread_loop.is_running():
            self._thread.start_here(self._thread.leave()).add_done_callback(lambda _: os._exit(EXIT_CODE))

    # ---- for timers and status -----------------------------------------------------------------

    def owned(self) -> frozenset[TP]:
        """Partitions that are started and provably ours. Timers fire on every worker: check here."""
        if self._failing or not self._thread.is_member():
            return frozenset()
        return frozenset(tp for tp, p in dict(self._partitions).items() if p.next_offset is not None and not p.fenced)

    def progress(self) -> dict[TP, tuple[int, int | None]]:
        """Per owned partition: up to which offset all is complete, and the log's end as of the last fetch (None:
        unknown)."""
        return {tp: (self._partitions[tp].done_to, self.highwater(tp)) for tp in self.owned()}

    def sources(self) -> dict[TP, Source]:
        """Per owned partition: which log is read."""
        return {tp: Source(tp.topic, self._partitions[tp].log, tp.partition) for tp in self.owned()}

    def highwater(self, tp: TP) -> int | None:  # type: ignore[override]
        return self._reader.highwater(tp)

    def unread(self) -> dict[TP, Unread]:
        """Of each owned partition what is not handed over yet, as of the last fetch. From any thread."""
        now_s = time.time()
        known = {tp: (p, self.highwater(tp)) for tp, p in dict(self._partitions).items() if not p.fenced}
        return {
            tp: p.unread(end, now_s) for tp, (p, end) in known.items() if p.next_offset is not None and end is not None
        }

    def stalled_s(self) -> float:
        """How long ago the event loop came round; 0 before it has begun to. From any thread."""
        return monotonic() - self._ticked_at_s if self._watchdog.is_alive() else 0.0

    def unready(self) -> str | None:
        """Why not every partition that was assigned is read; None: it is. From any thread."""
        if not self._watchdog.is_alive() or not self._thread.is_member():
            return "it is not a member of its group"
        waiting = sorted(f"{tp.topic}-{tp.partition}" for tp in self._thread.assigned() - self.owned())
        return f"it restores {', '.join(waiting)}" if waiting else None

    # ---- reading -------------------------------------------------------------------------------

    async def subscribe(self, topics: Iterable[str]) -> None:
        strangers = sorted(set(topics) - self.batch_topics)
        if strangers:
            raise ConfigurationError(
                f"an agent reads {', '.join(strangers)}, which make_transport() was not told of; "
                f"it was told of: {', '.join(sorted(self.batch_topics))}"
            )
        await super().subscribe(topics)

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        while not (self.should_stop or fetcher.should_stop or self._failing):
            self._polled_at_s = monotonic()
            try:
                if self.flow_active:
                    await self._pump()
                else:
                    await self.wait_first(self.can_resume_flow.wait(), timeout=IDLE_POLL_S)
            except KafkaException as why:
                self.fail(f"reading from Kafka failed: {why!r}", why)

    async def _pump(self) -> None:
        """Fetch once, from the partitions that are started and have room, and hand over what came."""
        open_ = {tp: p for tp, p in self._partitions.items() if self._has_room(p)}
        if not self._partitions:
            await self._reader.fetch({}, 0)  # what was lost is read ahead no longer
        if not open_ or self._holds_for_a_full_one(monotonic()):
            await self.sleep(HELD_BACK_POLL_S if self._partitions else IDLE_POLL_S)
            return
        timeout_s = FETCH_TIMEOUT_S if len(open_) == len(self._partitions) else HELD_BACK_POLL_S
        fetched = await self._reader.fetch(open_, timeout_s)
        for tp, messages in fetched.items():
            if tp in open_:
                await self._hand_over(open_[tp], messages)
        if 0 < sum(map(len, fetched.values())) < MANY_RECORDS:
            await self.sleep(self.limits.fetch_rest_s)

    def _has_room(self, partition: Partition) -> bool:
        return partition.started and partition.outstanding_bytes < self.limits.outstanding_bytes_max

    def _holds_for_a_full_one(self, now_s: float) -> bool:
        if all(self._has_room(p) for p in self._partitions.values() if p.started):
            self._full_since_s = None
            return False
        self._full_since_s = self._full_since_s or now_s
        return now_s - self._full_since_s < HOLD_S

    async def _hand_over(self, partition: Partition, messages: Sequence[Message]) -> None:
        current = self._partitions.get(partition.tp) is partition and not partition.fenced
        if not (current and self.flow_active) or self._went_back(partition, messages):
            return
        batch = partition.deliver(messages, monotonic())
        await self.wait_first(self.callback(event_of(batch, self.app.consumer_generation_id)), self.suspend_flow.wait())

    # ---- taking over and letting go ------------------------------------------------------------

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._thread.extend_membership(monotonic())
        await super().on_partitions_assigned(assigned, generation_id)
        for tp in assigned:
            self._take_over(tp)

    async def perform_seek(self) -> None:
        """Nothing: every partition seeks for itself once it knows its start, however long that takes."""

    def resume_flow(self) -> None:
        """Faust has just emptied the agents' queues. If anything was in them already it is read again."""
        for tp, partition in list(self._partitions.items()):
            if partition.oldest_outstanding is not None:
                self._take_over(tp)
        super().resume_flow()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        # Waits for begun batches and commits them (wait_empty), while they still count as ours.
        await super().on_partitions_revoked(revoked)
        self._let_go()

    def _went_back(self, partition: Partition, messages: Sequence[Message]) -> bool:
        """Whether a log ends before what was read of it, and is given from its beginning: its topic was made again
        between two looks at the cluster. Then the partition is taken over anew, and begins where the new log does."""
        first, awaited = offset_of(messages[0]), cast(int, partition.next_offset)
        if first >= awaited:
            return False
        tp = partition.tp
        self.log.warning("%s-%d gives offset %d where %d was awaited: made again?", *tp, first, awaited)
        self._take_over(tp, first)
        return True

    def _take_over(self, tp: TP, again_from: int | None = None) -> None:
        """again_from: where a log begins that was made again, whatever the group has committed of the one before."""
        if tp in self._starts:
            self._starts[tp].cancel()
        partition = self._partitions[tp] = Partition(tp, next(self._generations), monotonic())
        task = self._starts[tp] = asyncio.ensure_future(self._start_partition(partition, again_from))
        task.add_done_callback(lambda done: self._on_start_done(tp, done))

    async def _start_partition(self, partition: Partition, again_from: int | None) -> None:
        restored = await self.restored_offset(partition.tp)
        if again_from is not None:
            if restored is not None and restored > again_from:
                raise ConfigurationError(f"its log ends before {restored}, and what this worker knows goes as far")
            restored = again_from
        log = await self._log_of(partition.tp.topic)
        committed, fallback = await self._thread.run_here(self._thread.start_offset(partition.tp, log))
        partition.start(fallback if restored is None else restored, committed, claim=restored is not None, log=log)

    async def _log_of(self, topic: str) -> str:
        return await asyncio.to_thread(self._admin.uuid, topic)

    def _on_start_done(self, tp: TP, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (why := task.exception()) is not None:
            self.fail(f"the start of {tp.topic}-{tp.partition} could not be found: {why!r}", why)

    def _let_go(self) -> None:
        for task in self._starts.values():
            task.cancel()
        self._starts.clear()
        self._partitions.clear()

    async def wait_empty(self) -> None:
        """Let agents finish what they have begun, but not for longer than drain_timeout_s; then commit."""
        end_s = monotonic() + self.limits.drain_timeout_s
        while any(p.working for p in self._partitions.values()) and monotonic() < end_s and not self._failing:
            await asyncio.sleep(HELD_BACK_POLL_S)
        abandoned = [f"{tp.topic}-{tp.partition}" for tp, p in self._partitions.items() if p.working]
        if abandoned:
            self.log.error("batches not completed in time, their next owner is given them again: %s", abandoned)
        await self.commit()
        if self.app.should_stop:  # Faust waits twice when it stops, the second time after the agents are gone
            self._let_go()

    # ---- committing ----------------------------------------------------------------------------

    async def commit(
        self,
        topics: TPorTopicSet | None = None,  # all of them, always: what is complete is complete
        start_new_transaction: bool = True,
    ) -> bool:
        async with self._committing:
            due = {p: p.commit_due for p in self._partitions.values()}
            marks = {p.tp: mark for p, mark in due.items() if mark is not None}
            if not marks or self._failing:
                return False
            taken = await self._thread.run_here(self._thread.commit_once(marks))
            if taken:
                for partition, mark in due.items():
                    partition.committed = partition.committed if mark is None else mark.offset
            return taken

    # ---- staying alive, and noticing when we are not ------------------------------------------

    @Service.task
    async def _keep_alive(self) -> None:
        self._watchdog.start()
        due_s = monotonic()
        while not self.should_stop:
            STALL.labels(self.app.conf.id.rpartition("-")[2]).observe(max(0.0, monotonic() - due_s))
            self._ticked_at_s = monotonic()
            due_s = self._ticked_at_s + self.limits.watch_interval_s
            self._thread.stay_in_the_group()
            if (why := self._thread.unseen_error()) is not None:
                self.fail(f"the group coordinator refused this worker: {why!r}", why)
            self._renew_fenced()
            await self.sleep(self.limits.watch_interval_s)

    def _renew_fenced(self) -> None:
        """A lapse of membership fences what was delivered; if we turn out to be members still, read it again."""
        if not self._thread.is_member():
            for partition in self._partitions.values():
                partition.fenced = True
            return
        for tp in [tp for tp, p in self._partitions.items() if p.fenced]:
            self.log.warning("membership had lapsed: %s-%d is started anew", tp.topic, tp.partition)
            self._take_over(tp)

    def _crash(self, reason: BaseException) -> None:
        """Some service of the app has crashed. Faust would take its time to stop, or not stop at all."""
        if cast(Service, self.app)._stopped.is_set():
            super()._crash(reason)
        else:  # not ours yet: leaving the group needs a consumer that is alive
            self.fail(f"a part of the worker crashed: {reason!r}", reason)

    async def on_stop(self) -> None:
        self._watchdog.stop()
        await super().on_stop()
        await self._reader.close()

    async def verify_all_partitions_active(self) -> None:
        """Nothing: Faust's livelock detector counts its own acks and commits; the watchdog looks at ours."""

    def _complaint(self, now_s: float, since_s: float) -> str | None:
        """Runs in the watchdog's thread; reads only. A sentence that says what has stopped, or None."""
        limits = self.limits
        blocked_s = now_s - max(self._ticked_at_s, since_s)
        if blocked_s > limits.progress_timeout_s:
            return f"the event loop has been blocked for {blocked_s:.0f} s"
        for partition in list(self._partitions.values()):
            if not partition.fenced and (why := overdue(partition, limits, now_s, since_s)):
                return why
        if self._reads_what_it_is_assigned(now_s):
            self._sound_at_s = now_s
        stalled_s = now_s - max(self._sound_at_s, since_s)
        if stalled_s > limits.stall_timeout_s:
            return f"partitions are assigned but have not been read for {stalled_s:.0f} s"
        return None

    def _reads_what_it_is_assigned(self, now_s: float) -> bool:
        assigned = self._thread.assigned()
        polling = self.flow_active and now_s - self._polled_at_s < 2 * FETCH_TIMEOUT_S
        return not assigned or (polling and assigned <= self._partitions.keys())


def consumer_of(app: AppT) -> BatchConsumer:
    """The app's consumer, typed. Only once the app has its transport."""
    return cast(BatchConsumer, app.consumer)


def consumer_if_any(app: AppT) -> BatchConsumer | None:
    """The app's consumer once it has one; asking `app.consumer` would make it. From any thread."""
    return cast(BatchConsumer | None, cast(Any, app)._consumer)


def make_transport(
    bootstrap: str,
    topics: Iterable[str],
    *,
    restore: Restore | None = None,
    limits: Limits | None = None,
    alone: bool = False,
) -> type[driver.Transport]:
    """A transport class for `app.transport = make_transport(...)(app.conf.broker_consumer, app)`.

    bootstrap  where records are read; the app's own broker is for membership and commits
    topics     every topic that an agent of the app reads
    restore    async (tp) -> the offset to start at, or None for the group's committed one. Called each time this
               worker starts a partition anew, so it also means: forget what you hold of it. May take long; other
               partitions and heartbeats go on meanwhile. It is cancelled when the partition is lost.
    alone      one member of the group reads everything, while the others stand by
    """

    class Consumer(BatchConsumer):
        batch_topics = frozenset(topics)

        async def restored_offset(self, tp: TP) -> int | None:
            return await restore(tp) if restore else None

    class Transport(driver.Transport):
        pass

    Consumer.bootstrap = bootstrap
    Consumer.limits = limits or Limits()
    Consumer.alone = alone
    Transport.Consumer = Consumer
    return Transport
