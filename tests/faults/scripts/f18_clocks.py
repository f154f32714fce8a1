from __future__ import annotations

import time
from collections import defaultdict
from itertools import pairwise

from tests.faults.fault import Fault, Ground
from tests.faults.measured import ROLLED_BACK, Measured
from tests.faults.stage import CALM, HARMED, Stage
from tests.installation import messages

HOUR_S = 3_600
SHIFTS_S = (HOUR_S, -HOUR_S, 0)
ABOUT_S = 60
ALL = ("judge", "others")
ROLLED_BACK_WITHIN_S = 60.0


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
            demand_undisturbed(stage)
        demand_jumps(stage)
        stage.service.tell("harm")
        took_s = stage.wait(lambda: stage.flag(HARMED).get("exposure") == 0)
        stage.measured.demand(took_s < ROLLED_BACK_WITHIN_S, f"the rollback took {took_s:.0f} s")
        stage.measured.notes.append(f"the rollback took {took_s:.1f} s, an hour behind ledger time")
        return stage.verdict(ROLLED_BACK)


def demand_undisturbed(stage: Stage) -> None:
    for experiment in (HARMED, CALM):
        stage.measured.demand(stage.is_in(experiment, "running"), f"{experiment} is {stage.lifecycle(experiment)}")
        stage.measured.demand(stage.flag(experiment).get("exposure") == 0.5, f"a jump took {experiment}'s exposure")


def demand_jumps(stage: Stage) -> None:
    """That the ledger's own stamps did what the clocks did."""
    stamps_s, now_s = ledger_stamps_s(stage), time.time()
    steps = [after - before for partition in stamps_s.values() for before, after in pairwise(partition)]
    newest_s = max(max(partition) for partition in stamps_s.values())
    ahead_s, back_s = max(steps, default=0), min(steps, default=0)
    stage.measured.demand(ahead_s > HOUR_S - ABOUT_S, f"the ledger's stamps jumped ahead by {ahead_s:.0f} s only")
    stage.measured.demand(back_s < ABOUT_S - HOUR_S, f"the ledger's stamps jumped back by {-back_s:.0f} s only")
    stage.measured.demand(newest_s > now_s + HOUR_S / 2, "the ledger's time is not ahead of the clock at the end")
    stage.measured.notes.append(f"the ledger's stamps jumped by {ahead_s:+,.0f} and {back_s:+,.0f} s")


def ledger_stamps_s(stage: Stage) -> dict[int, list[float]]:
    """Stamps of the ledger's records by partition, in their order."""
    stamps: dict[int, list[float]] = defaultdict(list)
    for message in messages(stage.settings, "ledger"):
        stamps[message.partition() or 0].append(message.timestamp()[1] / 1_000)
    return stamps


FAULT = Fault(
    18,
    "clocks",
    "the clocks of the monitor's processes, and with them the ledger's stamps, jump an hour ahead, two back, one ahead",
    "no verdict and no command comes of it; harm while the clock stands behind ledger time is rolled back as ever",
    run,
)
