"""The thread in which aiokafka lives: membership, committing and heartbeats, whatever the agents' loop is doing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal, TypeVar, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, KafkaError, NoError, UnknownMemberIdError
from aiokafka.protocol.group import JoinGroupRequest, LeaveGroupRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.batches import Mark, counts_for
from streams.seats import Seat
from streams.standby import SoleAssignor

Result = TypeVar("Result")

LEAVE_TIMEOUT_S = 2.0  # a failing worker takes so long at most to tell the group that it goes
JOIN_TRAVELS_S = 0.1
TELL_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long anything may take, and how much may be in flight.

    isolation              read_committed reads transactional and other topics alike
    outstanding_bytes_max  per partition: delivered and not completed; one batch is always let through
    fetch_max_wait_ms      the broker answers an empty fetch after this; a partition that was left out waits as long
    fetch_rest_s           after a small fetch: at some hundred records a second each would bring one record
    drain_timeout_s        a rebalance or a stop waits so long for batches that were begun
    commit_timeout_s       a commit that the broker does not answer is given up, and repeated
    progress_timeout_s     some batch of a partition must be completed within this, if any was delivered
    stall_timeout_s        partitions may be assigned and not read for so long
    restore_timeout_s      the restore of one partition may take so long
    watch_interval_s       how often the last three are looked at; with it, each of them ends a worker within a minute
    """

    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed"
    outstanding_bytes_max: int = 16 * 1024 * 1024
    fetch_max_wait_ms: int = 100
    fetch_rest_s: float = 0.005
    drain_timeout_s: float = 3.0
    commit_timeout_s: float = 5.0
    progress_timeout_s: float = 55.0
    stall_timeout_s: float = 55.0
    restore_timeout_s: float = 55.0
    watch_interval_s: float = 1.0


class MemberThread(driver.AIOKafkaConsumerThread):
    """The thread that aiokafka lives in. Heartbeats go out here, whatever the agents' loop is doing."""

    limits: Limits
    alone: bool = False
    _member_until_s: float = 0.0
    _telling: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        await super().on_start()
        self._ensure_consumer()._fetcher._fetch_task.cancel()  # records are read by librdkafka (fetching.py)
        self._note_heartbeats()
        try:
            self._note_joins(Seat.take(Path(self.app.conf.datadir) / "seats" / self.app.conf.id))
        except OSError as why:
            self.log.warning("this worker has no seat, its group will wait for a session if it is killed: %r", why)

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        if self.alone:
            consumer._partition_assignment_strategy = [SoleAssignor]
        return consumer

    def _note_joins(self, seat: Seat) -> None:
        """The seat keeps the id that the group gives. Who is about to get one tells of those who died here."""
        coordinator = self._ensure_consumer()._coordinator
        send = coordinator._send_req

        async def noted(request: Any) -> Any:
            if not isinstance(request, JoinGroupRequest):
                return await send(request)
            if coordinator.member_id and self._telling is None:
                self._telling = asyncio.create_task(self._tell_of_the_dead(seat))
            response = await send(request)
            if response.member_id:
                self._keep(seat.note, response.member_id)
            return response

        coordinator._send_req = noted

    def _keep(self, write: Callable[[str], None], member_id: str) -> None:
        """A disk that is full must not end the membership."""
        try:
            write(member_id)
        except OSError as why:
            self.log.warning("the seat could not be written: %r", why)

    async def _tell_of_the_dead(self, seat: Seat) -> None:
        """The group waits for members that were killed until their session is over, unless it is told.

        After our own join: a group without any member waits for more to come before it lets the first one in.
        """
        until_s = monotonic() + self.app.conf.broker_session_timeout
        await asyncio.sleep(JOIN_TRAVELS_S)
        for member_id in list(seat.died):
            while not await self._told_of(member_id) and monotonic() < until_s:
                await asyncio.sleep(TELL_AGAIN_S)
            self._keep(seat.told, member_id)

    async def _told_of(self, member_id: str) -> bool:
        """On another wire than our join, which is answered when the group is complete."""
        consumer = self._ensure_consumer()
        node, request = consumer._coordinator.coordinator_id, LeaveGroupRequest(self.app.conf.id, member_id)
        if node is None:
            return False
        try:
            answer = await consumer._client.send(node, request)
        except KafkaError as why:
            self.log.warning("the group could not be told that %s is dead: %r", member_id, why)
            return False
        return answer.error_code in (NoError.errno, UnknownMemberIdError.errno)

    def _note_heartbeats(self) -> None:
        coordinator = self._ensure_consumer()._coordinator
        beat = coordinator._do_heartbeat

        async def noted() -> bool:
            sent_at_s = monotonic()
            alive = bool(await beat())
            if alive:
                self.extend_membership(sent_at_s)
            return alive

        coordinator._do_heartbeat = noted

    def extend_membership(self, heard_at_s: float) -> None:
        """The coordinator counts us in for a session from the moment it last heard of us."""
        self._member_until_s = heard_at_s + self.app.conf.broker_session_timeout

    def is_member(self) -> bool:
        """False: no heartbeat has been answered for a whole session, another may own our partitions."""
        return monotonic() < self._member_until_s

    async def run_here(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run in this thread's loop; a cancelled caller cancels it there too, unlike with Faust's method queue."""
        return await asyncio.wrap_future(self.start_here(coroutine))

    def start_here(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        return asyncio.run_coroutine_threadsafe(coroutine, self.thread_loop)

    async def start_offset(self, tp: TP, log: str) -> tuple[int | None, int]:
        """What the group has committed of this log, and where to start if nothing was restored."""
        consumer = self._ensure_consumer()
        partition = TopicPartition(*tp)
        found = (await consumer._coordinator.fetch_committed_offsets([partition])).get(partition)
        committed = found.offset if found is not None and found.offset >= 0 else None
        if found is not None and not counts_for(log, found.metadata):
            self.log.warning("%s-%d: what is committed is of another topic of that name", *tp)
            committed = None
        if committed is not None:
            return committed, committed
        earliest = self.app.conf.consumer_auto_offset_reset == "earliest"
        boundary = consumer.beginning_offsets if earliest else consumer.end_offsets
        return None, (await boundary([tp]))[tp]

    async def commit_once(self, marks: Mapping[TP, Mark]) -> bool:
        """True when the broker took it. aiokafka itself would try for ever while the coordinator is away."""
        consumer = self._ensure_consumer()
        assignment = consumer.assignment()
        mine = {TopicPartition(*tp): OffsetAndMetadata(*mark) for tp, mark in marks.items() if tp in assignment}
        if not mine:
            return False
        try:
            await asyncio.wait_for(consumer.commit(mine), self.limits.commit_timeout_s)
        except CommitFailedError:
            self.log.info("commit refused, the group has moved on: %s", mine)
            return False
        except (KafkaError, TimeoutError) as why:
            self.log.warning("commit failed, will be repeated: %r", why)
            return False
        return len(mine) == len(marks)

    def assigned(self) -> set[TP]:
        """The partitions of the current generation; empty while the group is rebalancing."""
        if self._consumer is None or self._consumer._subscription.reassignment_in_progress:
            return set()
        return self.assignment()

    def stay_in_the_group(self) -> None:
        """aiokafka refuses to rejoin after max_poll_interval without a fetch; an idle standby never fetches."""

        def touch() -> None:
            if self._consumer is not None:
                with self._consumer._subscription.fetch_context():
                    pass

        self.thread_loop.call_soon_threadsafe(touch)

    def unseen_error(self) -> Exception | None:
        """What ended aiokafka's group coordination: it waits for a poll to ask, and Faust never asks."""
        coordinator = self._consumer and self._consumer._coordinator
        if coordinator is None:
            return None
        task = coordinator._coordination_task
        ended = task.exception() if task.done() and not task.cancelled() else None
        return cast(Exception | None, coordinator._pending_exception or ended)

    async def leave(self) -> None:
        await asyncio.wait_for(self._ensure_consumer()._coordinator._maybe_leave_group(), LEAVE_TIMEOUT_S)
