"""Services that send traces and outcomes, and what must become of each record that they have sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from stoploss.evidence import TREATMENT
from tests.simulation.roles import TOPICS
from tests.simulation.traffic import UNREGISTERED, Trace, arm_of, encoded, spoilt

if TYPE_CHECKING:
    from tests.simulation.world import World

USERS = 40
KNOWN_FOR_US = 300_000
"""A service is given an experiment's flag long after intake knows the experiment."""
MOST_BEHIND_US = 60_000_000
"""What happened later than that, by the broker's clock, cannot have happened yet: it is stored and not judged."""
NOBODYS = Trace(None, "never sent", "nobody", 0, False, 0)

Place = tuple[str, int, int]
"""UUID of the topic, partition and offset of a record."""


class Fate(Enum):
    """What becomes of a record: COUNTED in the ledger and stored, or STORED alone; REFUSED as a dead letter; IGNORED by
    intake and joiner; EITHER counted or refused, since that hangs on what a worker remembers: one that died over it may
    have told the ledger what stands behind it and nobody that it refused it, and the next one then only stores it.
    """

    COUNTED = auto()
    STORED = auto()
    REFUSED = auto()
    IGNORED = auto()
    EITHER = auto()


@dataclass(frozen=True, slots=True)
class Sent:
    """harms: its text holds a card number."""

    fate: Fate
    experiment: str | None = None
    harms: bool = False


@dataclass(frozen=True, slots=True)
class SentOutcome:
    """An outcome that names its trace and nothing else of it.

    behind  the broker's clock was behind: it cannot have happened yet
    """

    trace: Trace
    at: int
    sent_us: int
    behind: bool


class Services:
    """Send traces of experiments whose flag they have, by the state that the first controller has brought about.

    sent    by place: what must become of it
    bare    outcomes without context
    lost    places in a topic that was deleted before they were read
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.left = world.scenario.traces
        self.sent: dict[Place, Sent] = {}
        self.bare: list[SentOutcome] = []
        self.lost: set[Place] = set()
        self.traces: dict[str, Trace] = {}
        self._stands: dict[str, list[Place]] = {}
        self._numbers = 0
        self._harmed = False

    def act(self) -> bool:
        known = [name for name in self.world.people.script if self.world.witness.known_for_us(name) >= KNOWN_FOR_US]
        flags = self.world.flags[self.world.scenario.controllers[0]].standing
        possible = [name for name in known if name in flags]
        if not possible or self.left <= 0 or TOPICS("traces") not in self.world.broker.topics:
            return False
        for _ in range(self.world.chance.randint(1, 9)):
            experiment = self.world.chance.choice(possible)
            self._send(self._trace(experiment, flags[experiment].exposure))
            if self.world.happens(self.world.scenario.outcomes):
                self._tell()
        return True

    # ---- traces --------------------------------------------------------------------------------------

    def _trace(self, experiment: str, exposure: float) -> Trace:
        self.left -= 1
        self._numbers += 1
        unit = f"u{self.world.chance.randrange(USERS)}"
        arm = arm_of(unit, exposure)
        due = self.world.scenario.harm_after
        harms = due is not None and self._numbers >= due and exposure > 0 and not self._harmed
        if harms:
            self._harmed, arm = True, TREATMENT
        return Trace(experiment, f"t{self._numbers}", unit, arm, harms, self.world.now_us)

    def _send(self, trace: Trace) -> None:
        value = encoded(trace, self.world.chance)
        self.traces[trace.trace] = trace
        copies = 2 if self.world.happens(self.world.scenario.twice) else 1
        self._stands[trace.trace] = [self._append_trace(value, self._judged(trace)) for _ in range(copies)]
        if self.world.happens(0.2):
            self.world.chance.choice(self._strange)(trace)

    def _judged(self, trace: Trace) -> Sent:
        return Sent(Fate.STORED if self._behind else Fate.COUNTED, trace.experiment, trace.harms)

    @property
    def _behind(self) -> bool:
        return self.world.broker_ahead_us < -MOST_BEHIND_US

    @property
    def _strange(self) -> tuple[Callable[[Trace], object], ...]:
        return self._send_a_bad_one, self._send_a_bad_one, self._send_of_no_experiment, self._use_an_id_again

    def _send_a_bad_one(self, like: Trace) -> None:
        self._append_trace(spoilt(replace(like, trace="bad"), self.world.chance), Sent(Fate.REFUSED))

    def _send_of_no_experiment(self, like: Trace) -> None:
        """Of none, or of one that nobody has registered, which is stored for whoever registers it too late."""
        self._numbers += 1
        name = self.world.chance.choice((None, UNREGISTERED))
        trace = replace(like, experiment=name, trace=f"t{self._numbers}", harms=False)
        self.traces[trace.trace] = trace
        fate = Fate.IGNORED if name is None else Fate.STORED
        self._append_trace(encoded(trace, self.world.chance), Sent(fate, name))

    def _use_an_id_again(self, like: Trace) -> None:
        """For another request, behind the first in its partition: a worker that has read the first refuses it. Copies
        of the first that lie elsewhere may be read after it, and be refused then."""
        first, *others = self._stands[like.trace]
        other = replace(like, said="is cancelled", harms=False)
        self._append_trace(encoded(other, self.world.chance), self._again(other), partition=first[1])
        for place in others:
            self.sent[place] = self._again(like)

    def _again(self, trace: Trace) -> Sent:
        """What is not judged is not remembered either."""
        return Sent(Fate.STORED if self._behind else Fate.EITHER, trace.experiment, trace.harms)

    def _append_trace(self, value: bytes, sent: Sent, partition: int | None = None) -> Place:
        place = self._append("traces", value, partition)
        self.sent[place] = sent
        return place

    # ---- outcomes ------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """A fact about some trace: with its context by who served it, without it by others, and of no trace at all."""
        trace = self.world.chance.choice((NOBODYS, *self.traces.values()))
        self._numbers += 1
        at = self.world.now_us + self._numbers
        bare = not trace.assignments or self.world.chance.random() < 0.7
        value = trace.outcome(at, bare=bare)
        for _ in range(2 if self.world.happens(self.world.scenario.twice) else 1):
            place = self._append("outcomes", value)
            if bare:
                self.sent[place] = Sent(Fate.IGNORED)
                self.bare.append(SentOutcome(trace, at, self.world.now_us, self._behind))
            else:
                self.sent[place] = Sent(fate_of(trace, behind=self._behind), trace.experiment)

    def _append(self, name: str, value: bytes, partition: int | None = None) -> Place:
        topic = self.world.broker.topics[TOPICS(name)]
        log = self.world.chance.choice(topic.logs) if partition is None else topic.logs[partition]
        return topic.uuid, log.partition, self.world.broker.append(log, None, value, [])


def fate_of(trace: Trace, *, behind: bool) -> Fate:
    """Of an outcome that has its trace's context."""
    return Fate.STORED if behind or trace.experiment == UNREGISTERED else Fate.COUNTED
