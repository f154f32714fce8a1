from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured

TOGETHER_S = 15.0
SECOND = ("intake", "judge")


def run(ground: Ground) -> Measured:
    """A second deployment of the same installation, by mistake in groups of its own: both read all partitions."""
    with ground.stage() as stage:
        for role in SECOND:
            stage.crew.start(f"{role}-second", "worker", role, bend="group_of_its_own=second")
        stage.wait(lambda: stage.crew["judge"].ended or stage.crew["judge-second"].ended, what="a judge is fenced")
        stage.lasts(TOGETHER_S)
        stage.stop_by_leak()
        fenced = [*stage.crew["judge"].ended, *stage.crew["judge-second"].ended]
        stage.measured.demand(bool(fenced) and set(fenced) == {70}, f"judges fenced each other with {fenced}")
        for role in SECOND:
            stage.crew.stop(f"{role}-second")
        stage.recovered()
        stage.measured.times = len(fenced)
        return stage.verdict()


FAULT = Fault(
    25,
    "two-groups",
    "a second intake and a second judge, in groups of their own, on the same experiments",
    "whoever is fenced ends; what both append is counted once, what both decide is given once",
    run,
)
