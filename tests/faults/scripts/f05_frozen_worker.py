from __future__ import annotations

import signal
import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured

ROLES = ("intake", "judge")
PAST_THE_SESSION_S = 15.0


def run(ground: Ground) -> Measured:
    with ground.stage() as stage:
        members = [stage.crew.start(f"{role}-standby", "worker", role) for role in ROLES]
        members += [stage.crew[role] for role in ROLES]
        stage.wait(lambda: all(member.ready() for member in members))
        for role in ROLES:
            stage.crew.signal(role, signal.SIGSTOP)
        frozen_at_s = time.monotonic()
        stage.recovered(frozen_at_s)
        stage.lasts(max(0.0, PAST_THE_SESSION_S - (time.monotonic() - frozen_at_s)))
        for role in ROLES:
            stage.crew.signal(role, signal.SIGCONT)
        stage.recovered()
        stage.wait(lambda: all(member.ready() for member in members))
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    5,
    "frozen-worker",
    "SIGSTOP to intake and judge for longer than their session lasts, then SIGCONT",
    "a standby takes over; who thaws writes nothing that counts",
    run,
)
