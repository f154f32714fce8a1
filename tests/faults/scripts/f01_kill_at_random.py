from __future__ import annotations

import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import Message

from stoploss.commands import Ack, AckStatus
from stoploss.wire import records
from tests.faults.fault import Fault, Ground
from tests.faults.measured import ROLLED_BACK, Ending, Measured, percentile
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
PAUSE_S, STORM_PAUSE_S = 6.0, 2.0
"""Between two kills at most. To start takes a process 1.5 s of processor: in the storm two cores do nothing else."""
STORM = 0.3
"""Kills of the storm, as a share of those before it."""
DOWN_S = 240.0
DAY_S = 86_400.0


@dataclass
class Hunt:
    """Kills, and takes the time until each is ready again.

    down     monotonic time of the kill, by member: of the first one, where it was killed again before it was up
    killed   of the last one
    by_name  how often; recoveries_s: from the first kill, since_last_s: from the last, until the member was ready
    """

    stage: Stage
    chance: random.Random
    pause_s: float
    down: dict[str, float] = field(default_factory=dict)
    killed: dict[str, float] = field(default_factory=dict)
    by_name: Counter[str] = field(default_factory=Counter)
    recoveries_s: list[float] = field(default_factory=list)
    since_last_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._acks = Tail(self.stage.settings, "acks")

    def kill(self, times: int) -> None:
        for number in range(1, times + 1):
            if number % BROKER_EVERY == min(times, BROKER_EVERY) // 2:
                self._kill_broker()
            else:
                self._kill_one()
        self._until(lambda: not self.down)
        self._acks.close()

    def told(self) -> str:
        """Who was killed how often, and how long it took."""
        kills = ", ".join(f"{name} {times}" for name, times in sorted(self.by_name.items()))
        first, last = (
            f"{statistics.median(times_s):.1f}, {percentile(times_s, 0.95):.1f}"
            for times_s in (self.recoveries_s, self.since_last_s)
        )
        return f"{kills}: median and p95 {first} s from the first kill of each, {last} s from the last"

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
        self.by_name[name] += 1

    def _kill_broker(self) -> None:
        self._until(lambda: not self.down)
        killed_at_s = time.monotonic()
        self.stage.broker.kill()
        self.stage.broker.start()
        self.stage.wait(self.stage.caught_up(), what="all that was sent is judged")
        self.recoveries_s.append(time.monotonic() - killed_at_s)
        self.since_last_s.append(self.recoveries_s[-1])
        self._until(lambda: all(map(self._works, self.stage.crew.members)))
        self.by_name["broker"] += 1

    def _for_a_while(self) -> None:
        until_s = time.monotonic() + self.chance.uniform(0, self.pause_s)
        self._until(lambda: time.monotonic() >= until_s)

    def _until(self, done: Callable[[], bool]) -> None:
        def looked() -> bool:
            self._look()
            return done()

        self.stage.wait(looked, DOWN_S)

    def _look(self) -> None:
        for name in [name for name in self.down if self._works(name)]:
            self.recoveries_s.append(time.monotonic() - self.down.pop(name))
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
        chance, measured = random.Random(ground.seed), stage.measured
        hunt = Hunt(stage, chance, PAUSE_S)
        hunt.kill(ground.kills)
        stage.service.tell("harm")
        storm = Hunt(stage, chance, STORM_PAUSE_S)
        storm.kill(math.ceil(STORM * ground.kills))
        measured.times = hunt.by_name.total() + storm.by_name.total()
        measured.recoveries_s = hunt.recoveries_s
        measured.notes += [hunt.told(), f"then in a storm {storm.told()}"]
        gave_up = {name: member.ended for name, member in stage.crew.members.items() if member.ended}
        measured.notes.append(f"ended by themselves: {gave_up or 'none'}")
        stage.wait(lambda: stage.flag(HARMED).get("exposure") == 0 and stage.lifecycle(CALM) == "running")
        stage.verdict(ROLLED_BACK, Ending())
        measured.demand(stage.bare_sent > 0, "no bare outcome was sent, so nothing tells what became of the resolver")
        return measured


FAULT = Fault(
    1,
    "kill-at-random",
    "kill -9 of any role, of the controller and of the broker at random moments, some of them while they start; then a \
storm of kills, more than the machine has the processor to start again at once",
    "each is ready again in time, of those before the storm; harm that begins in the storm is answered by one rollback",
    run,
    kills=True,
)
