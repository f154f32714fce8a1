"""What a seed decides before anything happens: how much is going on, and which faults there are and how often.

Each run has some of the faults only, some often: a fault that is rare everywhere is hardly ever seen with another.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.simulation.traffic import CONTROLLERS

AFTER_START = (
    (),
    ("pause", "resume"),
    ("stop",),
    ("rollback", "resume"),
    ("stop", "resume"),
    ("pause",),
    ("start",),
    ("pause", "resume", "stop", "resume"),
)


DECIDING = (
    ("complete",),
    ("complete", "stop", "complete"),
    ("complete", "reviewed", "rollback", "resume"),
    ("complete", "pause", "resume", "complete"),
    ("pause", "complete", "reviewed"),
    ("stop", "complete", "stop"),
)
"""People who decide on a rollout, of what is served or of what is not."""

AFTER_OUTCOMES = 60
"""More turns, so that faults meet outcomes on their longer way."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """begun                    the experiments are started before anything goes wrong
    experiments, sources     how many; sources are partitions of `traces`
    partitions               of the ledger; with two of them, two experiments stand on different ones
    controllers              names that the spec requires
    traces                   that are sent at most; steps: turns before the calm
    climbs                   the ramp goes on by itself, from stage to stage
    harm_after               traces before the first one that leaks; None: none leaks
    asked                    by experiment: what people ask after its start
    snapshot_every           entries; part_bytes: of a part of a snapshot
    dies, held_up, refused   chances per effect: of the process; of a long wait in which others go on; of a record
    commit_lost, offsets_lost  chances per commit, of a transaction and of a group's offsets
    disturbed                chance per turn that something happens to the broker
    slow_markers, sends_early  see Broker, SimProducer
    twice                    chance that a person's or a service's message is sent again
    outcomes                 chance that a trace is followed by a fact; 0: there are none, and nobody who reads them
    store_away               chance that ClickHouse does not answer a question
    """

    begun: bool
    experiments: int
    partitions: int
    sources: int
    controllers: tuple[str, ...]
    traces: int
    steps: int
    climbs: bool
    harm_after: int | None
    asked: tuple[tuple[str, ...], ...]
    snapshot_every: int
    part_bytes: int
    dies: float
    held_up: float
    refused: float
    commit_lost: float
    offsets_lost: float
    disturbed: float
    slow_markers: bool
    sends_early: float
    twice: float
    actuator_fails: float
    outcomes: float
    store_away: float

    @classmethod
    def of(cls, chance: random.Random) -> Scenario:
        experiments = chance.choice((1, 1, 1, 2))
        traces = chance.randint(5, 30)
        outcomes = chance.choice((0.0, 0.0, 0.0, 0.7))
        asked_after = DECIDING if traces % 5 == 2 else AFTER_START
        return cls(
            begun=chance.random() < 0.7,
            experiments=experiments,
            partitions=experiments if traces % 3 else 1,
            sources=chance.choice((1, 2)),
            controllers=CONTROLLERS[: chance.choice((1, 1, 2))],
            traces=traces,
            steps=chance.randint(40, 130) + (AFTER_OUTCOMES if outcomes else 0),
            climbs=traces % 4 == 0,
            harm_after=chance.choice((None, chance.randint(1, traces))),
            asked=tuple(chance.choice(asked_after) for _ in range(experiments)),
            snapshot_every=chance.choice((3, 10, 5_000)),
            part_bytes=chance.choice((1_000, 700_000)),
            dies=chance.choice((0, 0.003, 0.01, 0.03)),
            held_up=chance.choice((0, 0.005, 0.03)),
            refused=chance.choice((0, 0, 0.05, 0.3)),
            commit_lost=chance.choice((0, 0.1, 0.4)),
            offsets_lost=chance.choice((0, 0.2)),
            disturbed=chance.choice((0, 0.02, 0.08)),
            slow_markers=chance.choice((False, True)),
            sends_early=chance.choice((0.0, 0.3)),
            twice=chance.choice((0.0, 0.2)),
            actuator_fails=chance.choice((0.0, 0.0, 0.1)),
            outcomes=outcomes,
            store_away=chance.choice((0.0, 0.3)),
        )
