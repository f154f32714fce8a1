from __future__ import annotations

import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import HARMED
from tests.installation import facts_of

DEADLINE_MS = 2_000
BLIND = "\nhealth: {blind: {hold: 3s, then: none}}"
AWAY_S = 25.0


def run(ground: Ground) -> Measured:
    """Every deadline is short, and the judge away for longer than all of them."""
    with ground.stage(ack_deadline_ms=DEADLINE_MS, extra=BLIND) as stage:
        stage.crew.stop("judge")
        stage.service.tell("leak")
        stage.lasts(AWAY_S)
        since_s = time.monotonic()
        stage.crew.again("judge")
        stage.wait(lambda: stage.flag(HARMED).get("exposure") == 0)
        stage.measured.recoveries_s.append(time.monotonic() - since_s)
        stage.measured.times = 1
        overdue = [fact for fact in facts_of(stage.settings) if type(fact).__name__ == "AckOverdue"]
        stage.measured.demand(not overdue, f"a false alarm: {overdue[:1]}")
        return stage.verdict()


FAULT = Fault(
    31,
    "judge-away",
    f"the judge is away for {AWAY_S:.0f} s, longer than every deadline; a gate is tripped meanwhile",
    "the stop in the backlog takes effect, and nobody is told that it is overdue",
    run,
)
