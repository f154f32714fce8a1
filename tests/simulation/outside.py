"""Who is no part of the product: people who ask, and services that send traces."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from stoploss.evidence import TREATMENT
from stoploss.ledger import Request
from stoploss.wire import records
from tests.simulation.roles import TOPICS
from tests.simulation.traffic import Trace, arm_of, spec_of

if TYPE_CHECKING:
    from tests.simulation.world import World

NAMES = ("alpha", "beta")
USERS = 40
KNOWN_FOR_US = 300_000
"""A service is given an experiment's flag long after intake knows the experiment."""

Place = tuple[str, int, int]
"""UUID of the topic, partition and offset of a trace."""


class People:
    """Ask one thing after the other of each experiment, and again where they are told that it got lost.

    waiting  request id by experiment: asked and not answered
    """

    def __init__(self, world: World) -> None:
        self.world = world
        asked = zip(NAMES, world.scenario.asked, strict=False)
        self.script = {name: ["register", "start", *actions] for name, actions in asked}
        self.waiting: dict[str, str] = {}
        self.asked: dict[str, str] = {}
        self.healing: set[str] = set()
        self._numbers = 0

    def act(self) -> bool:
        """Asks the next thing of some experiment; false where everybody waits, or nothing is left."""
        self._hear()
        possible = [name for name, script in self.script.items() if script and name not in self.waiting]
        if self.world.calm:
            possible = [name for name in possible if self._may_ask_in_calm(name)]
        if not possible:
            return False
        name = self.world.chance.choice(possible)
        self.ask(name, self.script[name].pop(0))
        return True

    def _may_ask_in_calm(self, name: str) -> bool:
        """In the beginning what leads to a start; at the end what heals, and nothing new."""
        return (self.world.prelude and self.script[name][0] in ("register", "start")) or name in self.healing

    def ask(self, experiment: str, action: str) -> None:
        self._numbers += 1
        request_id = f"r{self._numbers}"
        self.waiting[experiment] = request_id
        self.asked[request_id] = action
        told = self.world.scenario
        spec = spec_of(experiment, told.controllers, told.climbs) if action == "register" else None
        request = Request(request_id, experiment, action, "ada", "", self.world.now_us, spec)
        value = records.encode("request", request)
        log = self.world.broker.topics[TOPICS("experiments")].logs[0]
        self.world.broker.append(log, experiment.encode(), value, [])
        if self.world.happens(self.world.scenario.twice):
            self.world.later(lambda: self.world.broker.append(log, experiment.encode(), value, []))

    def _hear(self) -> None:
        for experiment, request_id in list(self.waiting.items()):
            if self.world.witness.answered(request_id):
                del self.waiting[experiment]
            elif self.world.witness.not_registered(request_id):
                del self.waiting[experiment]
                self.script[experiment].insert(0, self.asked[request_id])

    def heal(self) -> None:
        """A raise that came too late is refused for good: a person pauses and resumes."""
        for experiment in self.world.witness.expired():
            if experiment not in self.waiting:
                self.script[experiment] = ["resume"]
                self.healing.add(experiment)
                self.ask(experiment, "pause")


class Services:
    """Send traces of experiments whose flag they have, by the state that the first controller has brought about.

    valid    by experiment: where each valid trace stands
    lost     traces of a topic that was deleted before they were read
    bad      where what is no trace stands
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.left = world.scenario.traces
        self.valid: dict[str, set[Place]] = defaultdict(set)
        self.lost: set[Place] = set()
        self.bad: set[Place] = set()
        self._sent = 0
        self._harmed = False

    def act(self) -> bool:
        topic = TOPICS("traces")
        known = [name for name in self.world.people.script if self.world.witness.known_for_us(name) >= KNOWN_FOR_US]
        flags = self.world.flags[self.world.scenario.controllers[0]].standing
        possible = [name for name in known if name in flags]
        if not possible or self.left <= 0 or topic not in self.world.broker.topics:
            return False
        for _ in range(self.world.chance.randint(1, 9)):
            experiment = self.world.chance.choice(possible)
            self._send(self._trace(experiment, flags[experiment].exposure))
        return True

    def _trace(self, experiment: str, exposure: float) -> Trace:
        self.left -= 1
        self._sent += 1
        unit = f"u{self.world.chance.randrange(USERS)}"
        arm = arm_of(unit, exposure)
        due = self.world.scenario.harm_after
        harms = due is not None and self._sent >= due and exposure > 0 and not self._harmed
        if harms:
            self._harmed, arm = True, TREATMENT
        return Trace(experiment, f"t{self._sent}", unit, arm, harms, self.world.now_us)

    def _send(self, trace: Trace) -> None:
        self._append(trace.encode(), trace.experiment)
        if self.world.happens(self.world.scenario.twice):
            self._append(trace.encode(), trace.experiment)
        if self.world.happens(0.1):
            self._append(b"no trace", None)

    def _append(self, value: bytes, experiment: str | None) -> None:
        topic = self.world.broker.topics[TOPICS("traces")]
        log = self.world.chance.choice(topic.logs)
        place = (topic.uuid, log.partition, self.world.broker.append(log, None, value, []))
        (self.bad if experiment is None else self.valid[experiment]).add(place)
