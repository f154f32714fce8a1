"""The world of one seed: broker, processes, people, services and whatever goes wrong, one turn at a time.

Every choice is drawn from one generator, and only one thing runs at a time, so a seed is a run. The faults end with the
calm: then everything that is under way is carried through, and what is left must be right.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from confluent_kafka import KafkaException

from stoploss.errors import ConfigurationError, DeliveryFailed, Fenced
from streams import partition_judge, snapshot_store
from tests.simulation import now, roles
from tests.simulation.batons import Baton
from tests.simulation.broker import Broker, Log, Stored
from tests.simulation.disturber import Disturber
from tests.simulation.invariants import Violation, Witness, in_a_line
from tests.simulation.people import People
from tests.simulation.processes import Killed, Process
from tests.simulation.roles import CONTROLLER, TOPICS, Disk, Flags, workers
from tests.simulation.scenario import Scenario
from tests.simulation.services import Services
from tests.simulation.settling import unsettled
from tests.simulation.store import Store

T = TypeVar("T")
START_US = 1_790_000_000_000_000
SECOND_US = 1_000_000
SOURCES = ("traces", "outcomes", "outcomes_resolved")
DEEPEST = 3
MOST_ACTS = 6
MOST_ROUNDS = 80
COLLECTS_EVERY = 24
EXPECTED_ENDS = (Fenced, DeliveryFailed, ConfigurationError, KafkaException)
"""What may end a worker here: it was fenced, a delivery failed, a topic was not there. Anything else is a bug."""


class World:
    """stack     who is running, and in which of its threads; the last one runs, the others are held up
    zombies   processes whose place in the group another has taken, and that do not know it yet
    """

    def __init__(self, seed: int) -> None:
        self.seed, self.chance = seed, random.Random(seed)
        self.scenario = Scenario.of(self.chance)
        self.now_us = START_US
        self.broker_ahead_us = 0
        stamps, passes = (lambda: self.now_us + self.broker_ahead_us), (lambda: self.now_us)
        self.broker = Broker(stamps, passes, slow_markers=self.scenario.slow_markers)
        self.stack: list[tuple[Process, Baton | None]] = []
        self.current: dict[str, Process | None] = {}
        self.zombies: list[Process] = []
        self.late: list[Callable[[], object]] = []
        self.disks: dict[str, Disk] = {}
        self.flags = {name: Flags(self, name) for name in self.scenario.controllers}
        self.calm, self.prelude = True, True
        self._started = self.deaths = self.fenced = 0
        self._create_topics()
        self.people, self.services, self.store = People(self), Services(self), Store(self)
        self.disturber = Disturber(self)
        self.witness = Witness(self)
        self.broker.appended = self._appended
        self.current = dict.fromkeys(
            (*workers(self.scenario), *(CONTROLLER + name for name in self.scenario.controllers))
        )

    def _create_topics(self) -> None:
        for topic in TOPICS.known.values():
            partitions = self.scenario.partitions if topic.fixed else 1
            partitions = self.scenario.sources if topic.name in SOURCES else partitions
            self.broker.create(TOPICS(topic.name), partitions, compacts=topic.compact)

    def _appended(self, log: Log, record: Stored) -> None:
        if log.topic.name == TOPICS("ledger"):
            self.witness.ledger_grew(log.partition, record)

    # ---- a run ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """Raises Violation where something is wrong."""
        now.enter(self)
        before = partition_judge.SNAPSHOT_EVERY_ENTRIES, snapshot_store.PART_BYTES
        partition_judge.SNAPSHOT_EVERY_ENTRIES = self.scenario.snapshot_every
        snapshot_store.PART_BYTES = self.scenario.part_bytes
        try:
            for role in self.current:
                self.start(role)
            if self.scenario.begun:
                self._carry_on()
            self.calm = self.prelude = False
            for _ in range(self.scenario.steps):
                self.step()
                self.witness.look()
            self._calm_down()
            self.witness.look_at_the_end()
        finally:
            partition_judge.SNAPSHOT_EVERY_ENTRIES, snapshot_store.PART_BYTES = before
            self._bury_all()
            now.leave()

    def step(self) -> None:
        """One turn of somebody who is not held up."""
        draw = self.chance.random()
        if draw < self.scenario.disturbed:
            self.disturber.disturb()
        elif draw < 0.18:
            self._pass_time()
        elif draw < 0.24:
            self._supervise()
        elif draw < 0.28 and self.late:
            self.late.pop(self.chance.randrange(len(self.late)))()
        elif draw < 0.35 and self.broker.pending:
            self._write_a_marker()
        elif draw > 0.98:
            self.store.record()
        elif not ((draw < 0.40 and self.people.act()) or (draw < 0.52 and self.services.act())):
            self._somebody_acts()

    def _somebody_acts(self) -> None:
        held = {process for process, _ in self.stack}
        ready = [p for p in (*self.current.values(), *self.zombies) if p is not None and not p.dead and p not in held]
        if ready:
            process = self.chance.choice(ready)
            for _ in range(self.chance.randint(1, MOST_ACTS)):
                if process.dead or not self.turn(process, process.act):
                    break
            if process.ending and not process.dead and self.happens(0.3):
                self.kill(process)

    def turn(self, process: Process, work: Callable[[], T]) -> T | None:
        """Runs something of a process, until it is done or dies of it."""
        self.stack.append((process, None))
        try:
            return work()
        except Killed:
            return None
        except EXPECTED_ENDS as why:
            process.fail(str(why))
            process.die()
            return None
        finally:
            self.stack.pop()

    def _pass_time(self) -> None:
        self.pass_time(self.chance.choice((1_000, 10_000, 25_000, 200_000, 600_000, 1_100_000)))

    @property
    def instant(self) -> tuple[int, int]:
        """What is asked again only when it has changed: the time, and how often the broker has."""
        return self.now_us, self.broker.changes

    def pass_time(self, us: int) -> None:
        self.now_us += us
        self.broker.expire_transactions()

    def _write_a_marker(self) -> None:
        transaction = self.chance.choice(self.broker.pending)
        waiting = [log for log in transaction.logs if log not in transaction.done]
        self.broker.write_marker(transaction, self.chance.choice(waiting))

    # ---- processes -----------------------------------------------------------------------------------

    def start(self, role: str) -> None:
        """A new process takes the role over; one that had it and lives is a zombie from now on."""
        before = self.current[role]
        if before is not None and not before.dead:
            if role.startswith(CONTROLLER):
                return
            self.zombies.append(before)
        elif before is not None and before not in {held for held, _ in self.stack}:
            before.bury()
        self._started += 1
        process = self.current[role] = Process(self, role, self._started)
        self.turn(process, lambda: roles.make(self, process))

    def joined(self, process: Process) -> None:
        """Who was held up while it started may join after the one that was started in its place."""
        before = self.current[process.role]
        if before is not process and before is not None:
            self.zombies.remove(process)
            self.zombies.append(before)
            self.current[process.role] = process

    def kill(self, process: Process) -> None:
        process.die()
        if process not in {held for held, _ in self.stack}:
            process.bury()
        if process in self.zombies:
            self.zombies.remove(process)

    def _supervise(self) -> None:
        for role, process in self.current.items():
            if process is None or process.dead:
                self.start(role)
                return

    def failed(self, process: Process, why: str, cause: BaseException | None) -> None:
        """A worker has given up. It may, for some reasons. Told to the witness: what is raised in here ends a task that
        nobody waits for, and is never seen."""
        self.fenced += isinstance(cause, Fenced)
        if cause is not None and not isinstance(cause, (*EXPECTED_ENDS, Killed, GeneratorExit)):
            self.witness.wrong.append(f"{process} ended by {cause!r}")

    def _bury_all(self) -> None:
        for process in (*self.current.values(), *self.zombies):
            if process is not None:
                process.die()
                process.bury()

    # ---- what goes wrong between two effects -----------------------------------------------------------

    def effect(self, process: Process, what: str) -> None:
        """Something is about to leave a process, or has just left it."""
        if process.dead:
            raise Killed
        if self.calm:
            return
        draw = self.chance.random()
        if draw < self.scenario.dies:
            process.die()
            raise Killed
        if draw < self.scenario.dies + self.scenario.held_up and len(self.stack) < DEEPEST:
            self._hold_up(process)

    def _hold_up(self, process: Process) -> None:
        """It waits, or is frozen; meanwhile others go on, and may take its place."""
        if not process.role.startswith(CONTROLLER) and self.happens(0.5) and self.current[process.role] is process:
            self.start(process.role)
        for _ in range(self.chance.randint(2, 12)):
            self.step()
        if process.dead:
            raise Killed

    def happens(self, probability: float) -> bool:
        return not self.calm and self.chance.random() < probability

    def refuses(self, process: Process) -> bool:
        return self.happens(self.scenario.refused)

    def commit_outcome(self, process: Process) -> str:
        if not self.happens(self.scenario.commit_lost):
            return "done"
        return self.chance.choice(("lost request", "lost answer", "refused"))

    def offsets_outcome(self, process: Process) -> str:
        return (
            self.chance.choice(("lost request", "lost answer")) if self.happens(self.scenario.offsets_lost) else "done"
        )

    def later(self, landing: Callable[[], object]) -> None:
        self.late.append(landing)

    def shuffled(self, items: Iterable[T]) -> list[T]:
        found = list(items)
        if len(found) > 1:
            self.chance.shuffle(found)
        return found

    # ---- the calm ------------------------------------------------------------------------------------

    def _calm_down(self) -> None:
        """No more faults: what is under way is carried through."""
        self.calm = True
        for landing in self.late:
            landing()
        self.late.clear()
        for zombie in list(self.zombies):
            self.kill(zombie)
        self.disturber.mend()
        for number in range(MOST_ROUNDS):
            self._carry_on()
            self.witness.look()
            if unsettled(self) is None:
                return
            if number % 8 == 7:
                self.people.heal()
            self.pass_time(SECOND_US if number % 3 else 5 * SECOND_US)
        raise Violation(f"nothing settles: {unsettled(self)}")

    def _carry_on(self) -> None:
        """Everybody acts until nobody has anything to do at this time."""
        for _ in range(2_000):
            while self.broker.pending:
                self._write_a_marker()
            self.store.record()
            for role, process in self.current.items():
                if process is None or process.dead or process.ending:
                    if process is not None:
                        self.kill(process)
                    self.start(role)
            acted = [self.turn(process, process.act) for process in self.current.values() if process is not None]
            acted.append(self.people.act())
            if not any(acted):
                return
        raise Violation(in_a_line(["somebody never has nothing to do", *self.witness.wrong]))


def run(seed: int, kind: type[World] = World) -> None:
    """One run; raises Violation, whatever else may be raised within. Runs leave megabytes in circles behind."""
    if seed % COLLECTS_EVERY == 0:
        gc.collect()  # ends what was suspended in them
        gc.collect()  # frees them
        gc.freeze()  # what is left are caches: the next time need not look at them again
    try:
        kind(seed).run()
    except Violation:
        raise
    except Exception as why:  # of the very code that is tried: no seed may end the ones after it
        raise Violation(repr(why)) from why


def line_of(seed: int, why: Any) -> str:
    """How to see it again."""
    return f"python -m tests.simulation {seed}  # {why}"
