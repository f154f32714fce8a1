"""People who ask, one thing after the other, and again where they are told that it got lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoploss.ledger import Request
from stoploss.wire import records
from tests.simulation.roles import TOPICS
from tests.simulation.settling import expired
from tests.simulation.traffic import spec_of

if TYPE_CHECKING:
    from tests.simulation.world import World

NAMES = ("alpha", "beta")
REVIEWER = "bob"
BODIES = {"complete": '{"decision": "rollout"}'}
REASONS = {"complete": "as good"}


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
        by, body = REVIEWER if action == "reviewed" else "ada", BODIES.get(action)
        reason = REASONS.get(action, "")
        request = Request(request_id, experiment, action, by, reason, self.world.now_us, spec, body=body)
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
        for experiment in expired(self.world):
            if experiment not in self.waiting:
                self.script[experiment] = ["resume"]
                self.healing.add(experiment)
                self.ask(experiment, "pause")
