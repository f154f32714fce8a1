from __future__ import annotations

import resource
import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import HARMED, Stage

ROOM_BYTES = 200_000
FULL_S = 8.0


def fill_the_broker(stage: Stage) -> None:
    """No log of the broker may grow much beyond the ledger: as on a full disk, it gives its only log directory up."""
    broker = stage.broker
    sizes = [path.stat().st_size for path in broker.data.glob(f"{stage.settings.topics('ledger')}-*/*.log")]
    limit = max(sizes) + ROOM_BYTES
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (limit, limit))
    broker.wait_until_it_ended()


def run(ground: Ground) -> Measured:
    with ground.stage() as stage:
        fill_the_broker(stage)
        since_s = time.monotonic()
        ground.broker.start()
        stage.recovered(since_s)
        stage.crew.stop("controller")
        stage.crew.bend("controller", "files_up_to=0")
        stage.crew.again("controller")
        stage.service.tell("leak")
        stage.lasts(FULL_S)
        stage.measured.demand(stage.flag(HARMED).get("exposure") == 0.5, "a flag was written on a full disk")
        stage.crew.bend("controller", None)
        stage.crew.kill("controller")
        stage.measured.recoveries_s.append(stage.wait(lambda: stage.flag(HARMED).get("exposure") == 0))
        stage.measured.times += 1
        return stage.verdict()


FAULT = Fault(
    23,
    "disk-full",
    "the broker's logs cannot grow, until it ends; then the controller's disk is full while a stop is due",
    "nothing acknowledged is lost; the flag is the old one whole, and the new one once there is room",
    run,
)
