from __future__ import annotations

import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import ROLES

TIMES = 3


def run(ground: Ground) -> Measured:
    with ground.stage(roles={**ROLES, "recorder": ("recorder",)}, clickhouse=ground.clickhouse) as stage:
        recorder = stage.crew["recorder"]
        stage.crew.bend("recorder", "dies_after_insert=2")
        stage.crew.kill("recorder")
        stage.wait(lambda: len(recorder.ended) >= TIMES)
        stage.crew.bend("recorder", None)
        since_s = time.monotonic()
        stage.wait(lambda: recorder.bend is None and recorder.ready())
        stage.measured.recoveries_s.append(time.monotonic() - since_s)
        stage.measured.times = len(recorder.ended)
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    2,
    "kill-after-insert",
    "the recorder is killed right after an insert, before it has committed what it read",
    "what is inserted again is one row",
    run,
    kills=True,
)
