from __future__ import annotations

import time

from streams.admin import Admin
from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured


def run(ground: Ground) -> Measured:
    with ground.stage() as stage:
        stage.service.end()
        stage.recovered()
        stage.measured.recoveries_s.clear()
        name, admin = stage.settings.topics("traces"), Admin(stage.broker.bootstrap)
        for future in stage.admin.delete_topics([name]).values():
            future.result()
        stage.wait(lambda: name not in admin.existing())
        since_s = time.monotonic()
        admin.create(stage.settings)
        stage.serve(seed=12)
        stage.recovered(since_s)
        stage.measured.times = 1
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    30,
    "topic-made-again",
    "the topic of traces is deleted and made again: offsets begin anew under another UUID",
    "what comes under the new UUID is no repeat of the old",
    run,
)
