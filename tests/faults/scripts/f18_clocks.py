from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import CALM

HOUR_S = 3_600
SHIFTS_S = (HOUR_S, -HOUR_S, 0)
ALL = ("judge", "others")


def run(ground: Ground) -> Measured:
    """The ledger is stamped by who writes it, so that its own time jumps as it would with the broker's clock.

    Intake's clock is only ahead: one that is an hour behind puts every trace into quarantine, as it has to.
    """
    with ground.stage() as stage:
        stage.configure(
            "ledger",
            message_timestamp_type="CreateTime",
            message_timestamp_after_max_ms=4 * HOUR_S * 1_000,
        )
        for shift_s in SHIFTS_S:
            for name in (*ALL, *(["intake"] if shift_s >= 0 else [])):
                stage.crew.stop(name)
                stage.crew.bend(name, f"clock_off_by={shift_s}" if shift_s else None)
                stage.crew.again(name)
            stage.recovered()
        stage.wait(lambda: stage.is_in(CALM, "running"))
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    18,
    "clocks",
    "the clocks of the monitor's processes, and with them the ledger's time, jump an hour ahead, two back, one ahead",
    "no verdict and no command comes of it; a stop goes out as ever",
    run,
)
