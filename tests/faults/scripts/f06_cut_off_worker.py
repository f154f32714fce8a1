from __future__ import annotations

import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.proxy import Proxy, Wire
from tests.faults.stage import Stage

ROLES = ("intake", "judge")
LATENCY_S = 0.25
BYTES_PER_S = 200_000
RESET_S = 3.0
CUT_OFF_S = 20.0


def run(ground: Ground) -> Measured:
    """The workers that are cut off are started last, so that each has one of the two partitions."""
    broker = ground.broker
    with ground.stage() as stage:
        members = [stage.crew.start(f"{role}-cut-off", "worker", role, kafka=broker.proxied) for role in ROLES]
        members += [stage.crew[role] for role in ROLES]
        stage.wait(lambda: all(member.ready() for member in members))
        bad_wires(stage, broker.proxy)
        broker.proxy.set(Wire.HELD)
        since_s = time.monotonic()
        stage.recovered(since_s)
        stage.lasts(max(0.0, CUT_OFF_S - (time.monotonic() - since_s)))
        broker.proxy.mend()
        stage.recovered()
        stage.wait(lambda: all(member.ready() for member in members))
        stage.stop_by_leak()
        return stage.verdict()


def bad_wires(stage: Stage, proxy: Proxy) -> None:
    """Slow, then narrow, then reset again and again: all that is sent is judged in spite of it."""
    proxy.latency_s = LATENCY_S
    stage.recovered()
    proxy.latency_s, proxy.bytes_per_s = 0.0, BYTES_PER_S
    stage.recovered()
    proxy.bytes_per_s = 0
    for _ in range(3):
        proxy.set(Wire.RESET)
        stage.lasts(RESET_S)
        proxy.set(Wire.OPEN)
        stage.lasts(RESET_S)
    stage.recovered()


FAULT = Fault(
    6,
    "cut-off-worker",
    f"one intake and one judge have the broker {1_000 * LATENCY_S:.0f} ms away, then behind a wire for {BYTES_PER_S:,} "
    "bytes a second, then one that is reset; then they lose it, and it only, for longer than their session lasts",
    "the others take over; what was under way on the dead wire counts once",
    run,
)
