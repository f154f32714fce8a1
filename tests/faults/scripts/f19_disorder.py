from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured

TRAFFIC_S = 20.0


def run(ground: Ground) -> Measured:
    told = {"out_of_order": 0.05, "two_hours_late": 0.01, "twice": 0.02}
    with ground.stage(service=told) as stage:
        stage.lasts(TRAFFIC_S)
        stage.recovered()
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    19,
    "disorder",
    "5 % of traces come out of order, 1 % two hours late, 2 % a second time",
    "all of them are evidence in the order of the log; nothing is decided because of it",
    run,
)
