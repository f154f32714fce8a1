from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import HARMED

UNWRITABLE_S = 15.0
LONGEST_BYTES = 150
"""Enough for the marker that ends a transaction, for no command."""


def run(ground: Ground) -> Measured:
    """No command is as short as the broker demands. (More replicas than there are it never asks for.)"""
    with ground.stage() as stage:
        stage.configure("control", max_message_bytes=LONGEST_BYTES)
        stage.service.tell("leak")
        stage.lasts(UNWRITABLE_S)
        stage.measured.demand(stage.flag(HARMED).get("exposure") == 0.5, "a command got through an unwritable topic")
        stage.configure("control", max_message_bytes=None)
        stage.measured.recoveries_s.append(stage.wait(lambda: stage.flag(HARMED).get("exposure") == 0))
        stage.measured.times = 1
        stage.measured.notes.append(f"the judge ended with {stage.crew['judge'].ended or 'nothing'}")
        return stage.verdict()


FAULT = Fault(
    13,
    "control-unwritable",
    f"the control topic takes nothing for {UNWRITABLE_S:.0f} s, in which a stop is due",
    "nothing of the stop's transaction is seen before all of it; then it is given once",
    run,
)
