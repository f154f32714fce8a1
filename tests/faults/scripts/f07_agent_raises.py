from __future__ import annotations

import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured

EX_SOFTWARE = 70
ALWAYS_S = 10.0


def run(ground: Ground) -> Measured:
    with ground.stage() as stage:
        intake, told = stage.crew["intake"], stage.settings.home / "raise"
        stage.crew.bend("intake", f"raises_while={told}")
        stage.crew.stop("intake")
        stage.crew.again("intake")
        stage.recovered()
        stage.measured.recoveries_s.clear()
        told.write_text("once")
        stage.wait(lambda: intake.ended)
        stage.recovered()
        told.write_text("always")
        since_s = time.monotonic()
        stage.wait(lambda: len(intake.ended) > 2 and time.monotonic() - since_s > ALWAYS_S)
        told.unlink()
        stage.recovered()
        stage.measured.times = len(intake.ended)
        stage.measured.demand(set(intake.ended) == {EX_SOFTWARE}, f"intake ended with {intake.ended}")
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    7,
    "agent-raises",
    "intake's work raises once; then each time, for a while",
    "the worker ends with code 70 and is started again from its committed offset",
    run,
)
