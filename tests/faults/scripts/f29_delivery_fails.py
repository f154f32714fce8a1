from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured

SMALLEST_BYTES = 900
FAILS_S = 5.0


def run(ground: Ground) -> Measured:
    """Blocks of some rows are refused, smaller ones next to them would be taken."""
    with ground.stage() as stage:
        stage.configure("ledger", max_message_bytes=SMALLEST_BYTES)
        stage.wait(lambda: stage.crew["intake"].ended)
        stage.lasts(FAILS_S)
        stage.configure("ledger", max_message_bytes=None)
        stage.recovered()
        ended = stage.crew["intake"].ended
        stage.measured.times = len(ended)
        stage.measured.demand(set(ended) == {70}, f"intake ended with {ended}")
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    29,
    "delivery-fails",
    f"the broker refuses what is larger than {SMALLEST_BYTES} bytes in the ledger, in the middle of traffic",
    "the worker ends, sends nothing behind the gap, and begins again where it had committed",
    run,
)
