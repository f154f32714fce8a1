from __future__ import annotations

import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured

TIMES = 5


def run(ground: Ground) -> Measured:
    with ground.stage() as stage:
        for _ in range(TIMES):
            killed_at_s = time.monotonic()
            ground.broker.kill()
            ground.broker.start()
            stage.recovered(killed_at_s)
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    12,
    "broker-killed",
    f"kill -9 of the broker and a start, {TIMES} times; everybody writes with acks=all",
    "what was acknowledged is there, what was not is sent again and counts once",
    run,
    kills=True,
)
