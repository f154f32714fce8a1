from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured

SHORT_S = 15.0


def run(ground: Ground) -> Measured:
    """Whoever is calm must still be running at the end, in its first run: that is in the verdict."""
    with ground.stage() as stage:
        for seconds in sorted({SHORT_S, 60 * ground.minutes}):
            ground.broker.freeze()
            try:
                stage.lasts(seconds)
            finally:
                ground.broker.thaw()
            stage.recovered()
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    11,
    "broker-frozen",
    f"the broker answers nobody for {SHORT_S:.0f} s, then for --minutes",
    "nobody is paused for it; all goes on where it stood",
    run,
)
