from __future__ import annotations

import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured

ROLES = ("intake", "judge")
MAX_POLL_S = 4.0
IDLE_S = 10.0


def run(ground: Ground) -> Measured:
    """Two workers share one partition; each is stopped once, so that an idle one takes over at least once."""
    with ground.stage(source_partitions=1, ledger_partitions=1) as stage:
        bend = f"polls_within={MAX_POLL_S}"
        for role in ROLES:
            stage.crew.stop(role)
            stage.crew.bend(role, bend)
            stage.crew.again(role)
            stage.crew.start(f"{role}-standby", "worker", role, bend=bend)
        stage.wait(lambda: all(stage.crew[name].ready() for role in ROLES for name in (role, f"{role}-standby")))
        for name in [f"{role}{which}" for which in ("", "-standby") for role in ROLES]:
            stage.lasts(IDLE_S)
            stage.crew.kill(name, stays_away=True)
            stage.recovered(time.monotonic())
            stage.crew.again(name)
            stage.wait(stage.crew[name].ready)
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    17,
    "idle-standby",
    f"a standby is idle for {IDLE_S:.0f} s where max.poll.interval is {MAX_POLL_S:.0f} s; the owner is killed",
    "the standby takes over",
    run,
)
