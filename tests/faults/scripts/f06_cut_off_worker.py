from __future__ import annotations

import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.proxy import Wire

ROLES = ("intake", "judge")
CUT_OFF_S = 20.0


def run(ground: Ground) -> Measured:
    """The workers that are cut off are started last, so that each has one of the two partitions."""
    broker = ground.broker
    with ground.stage() as stage:
        members = [stage.crew.start(f"{role}-cut-off", "worker", role, kafka=broker.proxied) for role in ROLES]
        members += [stage.crew[role] for role in ROLES]
        stage.wait(lambda: all(member.ready() for member in members))
        broker.proxy.set(Wire.HELD)
        since_s = time.monotonic()
        stage.recovered(since_s)
        stage.lasts(max(0.0, CUT_OFF_S - (time.monotonic() - since_s)))
        broker.proxy.set(Wire.OPEN)
        stage.recovered()
        stage.wait(lambda: all(member.ready() for member in members))
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    6,
    "cut-off-worker",
    "one intake and one judge lose the broker, and the broker only, for longer than their session lasts",
    "the others take over; what was under way on the dead wire counts once",
    run,
)
