from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.proxy import Wire
from tests.faults.stage import ROLES

DEAF_S = 12.0


def run(ground: Ground) -> Measured:
    roles = {**ROLES, "recorder": ("recorder",)}
    with (
        ground.wire() as proxy,
        ground.stage(roles=roles, clickhouse=ground.clickhouse, recorded_through=proxy) as stage,
    ):
        stage.recovered()
        proxy.set(Wire.DEAF)
        stage.lasts(DEAF_S)
        proxy.set(Wire.OPEN)
        stage.recovered()
        stage.measured.times = proxy.passed
        stage.measured.demand(proxy.passed > 0, "no insert was under way while replies were dropped")
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    10,
    "clickhouse-drops-replies",
    "ClickHouse does what it is asked to, and its replies are lost",
    "what is inserted again is one row",
    run,
)
