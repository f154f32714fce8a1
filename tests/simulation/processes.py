"""A process of the simulation: its event loop, its app, and its place in a consumer group.

The app stands in for Faust's. Its consumer keeps the project's own book (streams/batches.py) by the project's own
methods (streams/transport.py); only fetching, membership and the end of the process are the simulation's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from faust.types import TP

from streams.admin import Admin
from streams.agents import each_batch
from streams.batches import Batch, Mark, Partition, counts_for
from streams.member import Limits
from streams.transport import BatchConsumer, Restore
from tests.simulation.broker import Group, Log
from tests.simulation.clients import message_of
from tests.simulation.loop import SimLoop
from tests.simulation.now import Silent, running

if TYPE_CHECKING:
    from tests.simulation.batons import Baton
    from tests.simulation.producer import SimProducer
    from tests.simulation.world import World

Handler = Callable[[Batch], Awaitable[None]]
MOST_FETCHED = 12


class Killed(BaseException):
    """This process has died here. No except of the project catches it for good: the process is dead already."""


class Process:
    """One worker: what dies together.

    ended  why it ended by itself; None: it runs, or it was killed

    It is woken by time and by the broker alone: who had nothing to do at an instant has nothing to do in it.
    """

    def __init__(self, world: World, role: str, number: int) -> None:
        self.world, self.role, self.number = world, role, number
        self.loop = SimLoop(lambda: world.now_us / 1e6)
        self.producers: list[SimProducer] = []
        self.batons: list[Baton] = []
        self.pollers: list[Baton] = []
        self.app: SimApp | None = None
        self.made: object = None
        self.dead = False
        self.ended: str | None = None
        self.ending = False
        self._idle_since: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"{self.role}#{self.number}"

    # ---- its turn ------------------------------------------------------------------------------------

    def act(self) -> bool:
        """Does one thing of those that are due, in the calm all of them; false where nothing is."""
        if self._idle_since == self.world.instant:
            return False
        for baton in self.pollers:
            if baton.overdue:
                baton.turn()
        possible = self._possible()
        if not possible:
            self._idle_since = self.world.instant
            return False
        for work in possible if self.world.calm else [self.world.chance.choice(possible)]:
            work()
        return True

    def _possible(self) -> list[Callable[[], object]]:
        found: list[Callable[[], object]] = []
        if self.loop.has_callbacks:
            found.append(self.loop.run_callbacks)
        if self.loop.jobs:
            found += [partial(self.loop.run_job, executor) for executor in self.loop.jobs]
        if self.app is not None and not self.ending:
            found += self.app.possible()
        found += [producer.send_behind_the_back for producer in self.producers if producer.sends]
        found += [baton.turn for baton in self.pollers if baton.due]
        return found

    def die(self) -> None:
        if self.dead:
            return
        self.dead = True
        self.world.deaths += 1
        self.loop.close_tasks()
        for producer in self.producers:
            producer.abandoned()

    def bury(self) -> None:
        """Its threads unwind. Not before it is off the stack: one of them may be the one that runs."""
        for baton in self.batons:
            baton.end()
        self.app = self.made = None
        self.batons, self.pollers, self.producers = [], [], []

    def fail(self, why: str) -> None:
        """It leaves the group and ends; until then it may still do what it is about to do."""
        self.ended, self.ending = self.ended or why, True


class Signal:
    """Where an app's shutdown would be told, and that its partitions go to another."""

    def connect(self, handler: Callable[..., Coroutine[Any, Any, None]]) -> None:
        """Nobody shuts down in an orderly way here: processes die. On-call, whom it would matter to, is not there."""


class Timer:
    def __init__(self, interval_s: float, work: Callable[[], Awaitable[None]]) -> None:
        self.interval_s, self.work = interval_s, work
        self.due_s = 0.0
        self.task: asyncio.Task[None] | None = None


class SimApp:
    """What Faust's app is to streams/: agents, timers and a consumer."""

    def __init__(self, process: Process, group: str, topics: Mapping[str, Handler], restore: Restore | None) -> None:
        self.process, self.world = process, process.world
        self.on_before_shutdown = self.on_partitions_revoked = Signal()
        self.timers: list[Timer] = []
        self.consumer = self._consumer = GroupConsumer(process, self.world.broker.group(group), restore, list(topics))
        self.handlers = topics

    def timer(self, interval_s: float, name: str = "") -> Callable[[Any], Any]:
        def register(work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
            self.timers.append(Timer(interval_s, work))
            return work

        return register

    def begin(self) -> None:
        """Joins the group, and starts the agents."""
        for timer in self.timers:
            timer.due_s = self.world.now_us / 1e6 + timer.interval_s
        for topic, handle in self.handlers.items():
            agent = each_batch(self, handle)  # type: ignore[arg-type]
            self.process.loop.create_task(agent(self.consumer.stream(topic)))  # type: ignore[arg-type]
        self.consumer.join()

    def possible(self) -> list[Callable[[], object]]:
        now_s = self.world.now_us / 1e6
        due = [timer for timer in self.timers if timer.due_s <= now_s and (timer.task is None or timer.task.done())]
        return [partial(self._run, timer) for timer in due] + self.consumer.possible()

    def _run(self, timer: Timer) -> None:
        timer.due_s = self.world.now_us / 1e6 + timer.interval_s
        timer.task = self.process.loop.create_task(self._watched(timer))

    async def _watched(self, timer: Timer) -> None:
        """A crash of a part of the app ends the worker (BatchConsumer._crash)."""
        try:
            await timer.work()
        except Exception as why:  # noqa: BLE001  # whatever it is, the worker ends
            self.consumer.fail(f"a part of the worker crashed: {why!r}", why)


def build_app(
    settings: Any,
    role: str,
    handlers: Mapping[str, Handler],
    *,
    restore: Restore | None = None,
    limits: Limits | None = None,
    alone: bool = False,  # as every group here: whoever joined last has all
) -> SimApp:
    """Stands in for streams.app.build_app; the app belongs to the process that is being started."""
    _, process = running()
    group = f"stoploss-{settings.installation}-{role}"
    app = SimApp(process, group, {settings.topics(name): handle for name, handle in handlers.items()}, restore)
    app.consumer.limits = limits or Limits()
    process.app = app
    return app


class Membership:
    """The part of the member's thread that the book asks: membership, start offsets, commits."""

    def __init__(self, consumer: GroupConsumer) -> None:
        self._consumer = consumer

    def is_member(self) -> bool:
        return self._consumer.group.member is self._consumer.process

    async def run_here(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return await coroutine

    async def start_offset(self, tp: TP, log: str) -> tuple[int | None, int]:
        group, place = self._consumer.group, (tp.topic, tp.partition)
        committed = group.committed.get(place) if counts_for(log, group.logs.get(place)) else None
        return (None, 0) if committed is None else (committed, committed)

    async def commit_once(self, marks: Mapping[TP, Mark]) -> bool:
        world, process = self._consumer.world, self._consumer.process
        world.effect(process, "commit offsets")
        if not self.is_member():
            return False
        outcome = world.offsets_outcome(process)
        if outcome != "lost request":
            self._consumer.group.committed.update({(tp.topic, tp.partition): mark.offset for tp, mark in marks.items()})
            self._consumer.group.logs.update({(tp.topic, tp.partition): mark.log for tp, mark in marks.items()})
        return outcome == "done"


class GroupConsumer:
    """A BatchConsumer without Faust: the same book, the same answers, other fetches."""

    owns = BatchConsumer.owns
    begin = BatchConsumer.begin
    complete = BatchConsumer.complete
    owned = BatchConsumer.owned
    progress = BatchConsumer.progress
    sources = BatchConsumer.sources
    commit = BatchConsumer.commit
    _went_back = BatchConsumer._went_back
    _take_over = BatchConsumer._take_over
    _start_partition = BatchConsumer._start_partition
    _on_start_done = BatchConsumer._on_start_done
    _let_go = BatchConsumer._let_go
    _has_room = BatchConsumer._has_room
    lives = BatchConsumer.lives

    def __init__(self, process: Process, group: Group, restore: Restore | None, topics: list[str]) -> None:
        self.process, self.world, self.group, self.restore, self.topics = process, process.world, group, restore, topics
        self.limits = Limits()
        self._admin = Admin("the fake broker")
        self.log = Silent()
        self._thread = Membership(self)
        self._partitions: dict[TP, Partition] = {}
        self._starts: dict[TP, asyncio.Task[None]] = {}
        self._generations = count(1)
        self._committing = asyncio.Lock()
        self._failing = False
        self._queues: dict[str, asyncio.Queue[Batch]] = {topic: asyncio.Queue() for topic in topics}
        self._commit_task: asyncio.Task[bool] | None = None

    async def _log_of(self, topic: str) -> str:
        """In a thread, as there: a topic may be made again while it is asked for."""
        return await asyncio.get_running_loop().run_in_executor(None, self._admin.uuid, topic)

    async def restored_offset(self, tp: TP) -> int | None:
        return await self.restore(tp) if self.restore else None

    def fail(self, why: str, cause: BaseException | None = None) -> None:
        if not self._failing:
            self._failing = True
            self.process.fail(why)
            self.world.failed(self.process, why, cause)

    def highwater(self, tp: TP) -> int:
        return self._log(tp).end

    # ---- membership ----------------------------------------------------------------------------------

    def join(self) -> None:
        """From here on the group is this process's: whoever had it before owns nothing any more."""
        self.group.member = self.process
        self.world.joined(self.process)
        self.assign(self.topics)

    def assign(self, topics: list[str]) -> None:
        with self.process.loop.running():
            for topic in topics:
                for log in self.world.broker.topics[topic].logs if topic in self.world.broker.topics else ():
                    self._take_over(TP(topic, log.partition))

    def revoke(self, topic: str) -> None:
        """The topic is gone: its partitions are taken from this member."""
        for tp in [tp for tp in self._partitions if tp.topic == topic]:
            if (task := self._starts.pop(tp, None)) is not None:
                task.cancel()
            del self._partitions[tp]

    # ---- reading -------------------------------------------------------------------------------------

    async def stream(self, topic: str) -> AsyncIterator[Batch]:
        while True:
            yield await self._queues[topic].get()

    def possible(self) -> list[Callable[[], object]]:
        found: list[Callable[[], object]] = []
        if not self._failing and self._thread.is_member():
            found += [partial(self._fetch, p) for p in self._partitions.values() if self._has_more(p)]
            if self._commit_due and (self._commit_task is None or self._commit_task.done()):
                found.append(self._commit)
        return found

    @property
    def _commit_due(self) -> bool:
        return any(p.commit_due is not None for p in self._partitions.values())

    def _log(self, tp: TP) -> Log:
        return self.world.broker.topics[tp.topic].logs[tp.partition]

    @property
    def _committed_only(self) -> bool:
        return self.limits.isolation == "read_committed"

    def _has_more(self, partition: Partition) -> bool:
        if (
            partition.next_offset is None
            or not self._has_room(partition)
            or partition.tp.topic not in self.world.broker.topics
        ):
            return False
        return self._log(partition.tp).has_more(self._position(partition), committed=self._committed_only)

    def _position(self, partition: Partition) -> int:
        """Where a fetch begins. Out of range: auto_offset_reset is earliest."""
        assert partition.next_offset is not None
        return 0 if partition.next_offset > self._log(partition.tp).end else partition.next_offset

    def _fetch(self, partition: Partition) -> None:
        """One fetch: as many records as chance has it."""
        most = self.world.chance.randint(1, MOST_FETCHED)
        log = self._log(partition.tp)
        found, _ = log.read(self._position(partition), committed=self._committed_only, most=most)
        if not found:
            return
        messages = [message_of(log, record) for record in found]
        with self.process.loop.running():
            if self._went_back(partition, messages):
                return
        batch = partition.deliver(messages, self.world.now_us / 1e6)
        self._queues[partition.tp.topic].put_nowait(batch)

    def _commit(self) -> None:
        self._commit_task = self.process.loop.create_task(self.commit())
