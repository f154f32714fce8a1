from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import Message

from stoploss.commands import Ack, AckStatus
from stoploss.wire import records
from tests.faults.fault import Fault, Ground
from tests.faults.measured import ROLLED_BACK, Ending, Measured
from tests.faults.stage import CALM, HARMED, Stage
from tests.installation import Tail

ROLES = ("intake", "joiner", "resolver", "registrar", "judge", "courier", "recorder")
EACH_ALONE = {name: (name,) for name in ROLES}
BENDS = {"resolver": "looks_up_again_after=5"}
"""Of traces that are not stored while the recorder is down: else the end of the run would wait for minutes."""
FOLLOWED = {"outcomes": 0.1, "bare": 0.05}
BROKER_EVERY = 20
"""One of so many kills is the broker's."""
AGAIN = 0.25
"""Share of kills that hit one that is still starting, joining or restoring."""
LONGEST_PAUSE_S = 6.0
"""To start takes a process 1.5 s of processor: at a kill a second two cores would do nothing else."""
DOWN_S = 240.0
DAY_S = 86_400.0


@dataclass
class Hunt:
    """Kills, and takes the time until each is ready again.

    down    monotonic time of the kill, by member: of the first one, where it was killed again before it was up
    killed  of the last one; since_last_s: seconds from it until the member was ready
    """

    stage: Stage
    chance: random.Random
    down: dict[str, float] = field(default_factory=dict)
    killed: dict[str, float] = field(default_factory=dict)
    by_name: dict[str, int] = field(default_factory=dict)
    since_last_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._acks = Tail(self.stage.settings, "acks")

    def kill(self, times: int) -> None:
        for number in range(1, times + 1):
            if number % BROKER_EVERY == min(times, BROKER_EVERY) // 2:
                self._kill_broker()
            else:
                self._kill_one()
            if number == max(1, times // 2):
                self.stage.service.tell("harm")
        self._until(lambda: not self.down)
        self._acks.close()

    def _kill_one(self) -> None:
        """Now and then one that is not up yet."""
        self._for_a_while()
        up = [name for name in self.stage.crew.members if name not in self.down]
        if not up or (self.down and self.chance.random() < AGAIN):
            name = self.chance.choice(sorted(self.down))
        else:
            name = self.chance.choice(sorted(up))
        self.stage.crew.kill(name)
        self.killed[name] = time.monotonic()
        self.down.setdefault(name, self.killed[name])
        self._note(name)

    def _kill_broker(self) -> None:
        self._until(lambda: not self.down)
        killed_at_s = time.monotonic()
        self.stage.broker.kill()
        self.stage.broker.start()
        self.stage.recovered(killed_at_s)
        self.stage.measured.times -= 1
        self._until(lambda: all(map(self._works, self.stage.crew.members)))
        self._note("broker")

    def _note(self, name: str) -> None:
        self.stage.measured.times += 1
        self.by_name[name] = self.by_name.get(name, 0) + 1

    def _for_a_while(self) -> None:
        until_s = time.monotonic() + self.chance.uniform(0, LONGEST_PAUSE_S)
        self._until(lambda: time.monotonic() >= until_s)

    def _until(self, done: Callable[[], bool]) -> None:
        def looked() -> bool:
            self._look()
            return done()

        self.stage.wait(looked, DOWN_S)

    def _look(self) -> None:
        for name in [name for name in self.down if self._works(name)]:
            self.stage.measured.recoveries_s.append(time.monotonic() - self.down.pop(name))
            self.since_last_s.append(time.monotonic() - self.killed[name])

    def _works(self, name: str) -> bool:
        member = self.stage.crew[name]
        if name != "controller":
            return member.ready()
        down_for_s = time.monotonic() - self.killed[name] if name in self.down else math.inf
        since_ms = (time.time() - min(down_for_s, DAY_S)) * 1_000
        return member.running and any(_is_alive(message, since_ms) for message in self._acks.seen())


def _is_alive(message: Message, since_ms: float) -> bool:
    if message.timestamp()[1] < since_ms:
        return False
    return records.decode(message.value(), {"ack": Ack}).status == AckStatus.ALIVE


def run(ground: Ground) -> Measured:
    with ground.stage(roles=EACH_ALONE, bends=BENDS, clickhouse=ground.clickhouse, service=FOLLOWED) as stage:
        stage.wait(lambda: all(member.ready() for name, member in stage.crew.members.items() if name != "controller"))
        hunt = Hunt(stage, random.Random(ground.seed))
        hunt.kill(ground.kills)
        stage.measured.notes.append(", ".join(f"{name} {times}" for name, times in sorted(hunt.by_name.items())))
        since_last_s = hunt.since_last_s
        last = f"{statistics.median(since_last_s):.1f} s (median), {max(since_last_s):.1f} s (longest)"
        stage.measured.notes.append(f"from the last kill of each: {last}")
        gave_up = {name: member.ended for name, member in stage.crew.members.items() if member.ended}
        stage.measured.notes.append(f"ended by themselves: {gave_up or 'none'}")
        stage.wait(lambda: stage.flag(HARMED).get("exposure") == 0 and stage.lifecycle(CALM) == "running")
        measured = stage.verdict(ROLLED_BACK, Ending())
        measured.demand(stage.bare_sent > 0, "no bare outcome was sent, so nothing tells what became of the resolver")
        return measured


FAULT = Fault(
    1,
    "kill-at-random",
    "kill -9 of any role, of the controller and of the broker at random moments, some of them while they start",
    "each is ready again in time; harm that begins half-way is answered by one rollback",
    run,
    kills=True,
)
