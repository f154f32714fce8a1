from __future__ import annotations

import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import Stage

TIMES = 20


def visited(stage: Stage, role: str) -> None:
    """Another worker of the role comes, works, and goes."""
    guest = f"{role}-guest"
    since_s = time.monotonic()
    stage.crew.start(guest, "worker", role)
    stage.wait(lambda: stage.crew[guest].ready() and stage.crew[role].ready())
    stage.measured.recoveries_s.append(time.monotonic() - since_s)
    stage.crew.stop(guest)
    stage.recovered()
    del stage.crew.members[guest]


def run(ground: Ground) -> Measured:
    with ground.stage() as stage:
        for number in range(TIMES):
            visited(stage, ("intake", "judge")[number % 2])
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    4,
    "join-and-leave",
    f"a second worker of intake or judge joins and leaves, {TIMES} times",
    "partitions move and come back, all of them are read on",
    run,
)
