from __future__ import annotations

from stoploss import journal
from stoploss.journal import MonitorBlind
from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import CALM, Stage
from tests.installation import values

BAD = 0.55
BLIND = "\nhealth: {blind: {hold: 2s, then: none, rejectLimit: 0.5}}"


def causes(stage: Stage) -> set[tuple[str, bool]]:
    """Why the monitor said that it was blind, and whether it said that this was over."""
    said = [journal.decode(value).conclusion for value in values(stage.settings, "journal")]
    return {(one.cause, one.until is not None) for one in said if isinstance(one, MonitorBlind)}


def run(ground: Ground) -> Measured:
    with ground.stage(extra=BLIND) as stage:
        stage.service.tell("bad", BAD)
        stage.wait(lambda: ("rejects", False) in causes(stage) and stage.lifecycle(CALM) == "holding", 180)
        stage.service.tell("bad", 0.0)
        stage.recovered()
        stage.wait(lambda: ("rejects", True) in causes(stage), 180)
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    21,
    "half-is-bad",
    f"{BAD:.0%} of all records are cut off, for a minute and more",
    "each bad one is a dead letter, each good one evidence; the monitor says it is blind, holds, and sees again",
    run,
)
