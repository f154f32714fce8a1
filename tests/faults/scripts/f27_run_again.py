from __future__ import annotations

import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Ending, Measured
from tests.faults.stage import HARMED, spec_of


def run(ground: Ground) -> Measured:
    with ground.stage() as stage:
        stage.stop_by_leak()
        since_s = time.monotonic()
        stage.installation.ask("amend", HARMED, spec=spec_of(HARMED, "\nhealth: {silence: {after: 10m}}"))
        stage.installation.ask("start", HARMED, exposure=0.5)
        stage.wait(lambda: stage.flag(HARMED).get("run") == 2 and stage.flag(HARMED).get("exposure") == 0.5)
        stage.measured.recoveries_s.append(time.monotonic() - since_s)
        stage.recovered()
        stage.stop_by_leak()
        stage.measured.times = 1
        return stage.verdict(Ending("stopped", 0.0, ("set_exposure", "stop", "set_exposure", "stop")))


FAULT = Fault(
    27,
    "run-again",
    "a stopped experiment is amended, so that another spec is in force, and started, in running traffic",
    "a second run with evidence of its own; what belongs to the first one cannot stop it, new harm does",
    run,
)
