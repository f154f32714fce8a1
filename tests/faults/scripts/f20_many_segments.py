from __future__ import annotations

from pathlib import Path

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured

FEW, MANY = 50_000, 1_000_000
FOR_MANY_MINUTES = 10.0
"""They are not sent in less; where less is given, there are few."""
MOST_MB = 1_500


def resident_mb(pid: int) -> int:
    """Memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) // 1024


def run(ground: Ground) -> Measured:
    count = MANY if ground.minutes is None or ground.minutes >= FOR_MANY_MINUTES else FEW
    with ground.stage() as stage:
        stage.service.tell("burst", count)
        stage.wait(stage.caught_up(), 60 + count / 200)
        memory = {name: resident_mb(stage.crew[name].pid) for name in ("intake", "judge")}
        stage.measured.notes.append(f"{count} tenants; MB: {memory}")
        stage.measured.demand(max(memory.values()) < MOST_MB, f"memory grew to {memory} MB")
        stage.recovered()
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    20,
    "many-segments",
    f"{MANY} tenants at once, each with a trace of its own; {FEW} where --minutes gives less than ten",
    "memory stays bounded; all of it is evidence, and a stop goes out",
    run,
)
