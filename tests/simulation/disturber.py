"""What happens to broker and processes from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stoploss import snapshot
from stoploss.state import PartitionState
from tests.simulation.processes import GroupConsumer, Process
from tests.simulation.roles import TOPICS, workers

if TYPE_CHECKING:
    from tests.simulation.world import World

INTAKES_GROUP = "stoploss-sim-intake"
STRANGER = "a stranger's transaction"
FORGED_SECRET = b"f" * 32
HOUR_US = 3_600_000_000
HUNG_FOR_GOOD_US = 11_000_000


class Disturber:
    def __init__(self, world: World) -> None:
        self.world = world
        self._happenings: tuple[Callable[[], object], ...] = (
            self._kill,
            self._kill,
            self._kill,
            self._take_over,
            self._take_over,
            self._compact,
            self._hang,
            self._jump,
            self._delete,
            self._delete,
            self._forge_a_snapshot,
            self._wait_long,
        )

    def disturb(self) -> None:
        self.world.chance.choice(self._happenings)()

    def mend(self) -> None:
        """What would not end by itself ends: the topic is there, the clock is right, no transaction hangs."""
        self.world.broker_ahead_us = 0
        self._make_again()
        self.world.pass_time(HUNG_FOR_GOOD_US)

    def _kill(self) -> None:
        held = {process for process, _ in self.world.stack}
        alive = [p for p in (*self.world.current.values(), *self.world.zombies) if p and not p.dead and p not in held]
        if alive:
            self.world.kill(self.world.chance.choice(alive))

    def _take_over(self) -> None:
        """The group believes that a member has died; it has not."""
        self.world.start(self.world.chance.choice((*workers(self.world.scenario), "judge")))

    def _compact(self) -> None:
        for topic in self.world.broker.topics.values():
            if topic.compacts:
                for log in topic.logs:
                    log.compact()

    def _hang(self) -> None:
        """Somebody's transaction stays open for ten seconds; what comes behind it is not shown meanwhile."""
        name = self.world.chance.choice(("control", "journal", "registry", "outcomes_resolved"))
        epoch = self.world.broker.open_producer(STRANGER)
        log = self.world.chance.choice(self.world.broker.topics[TOPICS(name)].logs)
        self.world.broker.append_in_transaction(STRANGER, epoch, log, b"nobody", b"not committed", [])

    def _jump(self) -> None:
        """The broker's clock is set, forward or back."""
        self.world.broker_ahead_us += self.world.chance.choice((-HOUR_US, -2_000_000, 2_000_000, HOUR_US))

    def _wait_long(self) -> None:
        self.world.pass_time(self.world.chance.choice((6_000_000, 12_000_000, 400_000_000)))

    def _delete(self) -> None:
        """The topic `traces` goes; some time later it is made again, empty and with another UUID."""
        name = TOPICS("traces")
        if name not in self.world.broker.topics:
            return
        self._note_what_is_lost()
        self.world.broker.delete(name)
        if (consumer := self._intake()) is not None:
            consumer.revoke(name)
        self.world.later(self._make_again)

    def _make_again(self) -> None:
        name = TOPICS("traces")
        if name in self.world.broker.topics:
            return
        self.world.broker.create(name, self.world.scenario.sources)
        if (consumer := self._intake()) is not None:
            consumer.assign([name])

    def _intake(self) -> GroupConsumer | None:
        """The member that the group tells of it: whoever joined last, though another may have been started since."""
        process = self.world.broker.group(INTAKES_GROUP).member
        known = isinstance(process, Process) and process.app is not None and not process.dead
        return process.app.consumer if known else None

    def _note_what_is_lost(self) -> None:
        """What intake has not committed: nobody can read it any more, unless it was under way."""
        topic = self.world.broker.topics[TOPICS("traces")]
        group = self.world.broker.group(INTAKES_GROUP)
        for log in topic.logs:
            place = (topic.name, log.partition)
            stored = group.committed.get(place, 0) if group.logs.get(place) == topic.uuid else 0
            places = {(topic.uuid, log.partition, r.offset) for r in log.records if r.offset >= stored}
            self.world.services.lost |= places

    def _forge_a_snapshot(self) -> None:
        """Somebody writes a state of his own as the newest snapshot, without the key."""
        log = self.world.chance.choice(self.world.broker.topics[TOPICS("snapshots")].logs)
        state = PartitionState(log.partition, offset=10**6)
        data = snapshot.dump(state, FORGED_SECRET)
        headers: list[tuple[str, bytes | None]] = [("generation", b"999999"), ("parts", b"1")]
        self.world.broker.append(log, b"snapshot/0/0", data, headers)
