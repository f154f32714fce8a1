from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured

FROZEN_S = (15.0, 60.0, 600.0)


def run(ground: Ground) -> Measured:
    """Whoever is calm must still be running at the end, in its first run: that is in the verdict."""
    with ground.stage() as stage:
        for seconds in ground.durations_s(*FROZEN_S):
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
    f"the broker answers nobody for {', '.join(f'{seconds:.0f}' for seconds in FROZEN_S)} s",
    "nobody is paused for it; all goes on where it stood",
    run,
)
