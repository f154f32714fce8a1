from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.proxy import Wire
from tests.faults.stage import ROLES

STOP_WITHIN_S = 15.0


def away(ground: Ground, wire: Wire) -> Measured:
    """The wire to ClickHouse is so for a while; a stop is due in the middle of it."""
    roles = {**ROLES, "recorder": ("recorder",)}
    with (
        ground.wire() as proxy,
        ground.stage(roles=roles, clickhouse=ground.clickhouse, recorded_through=proxy) as stage,
    ):
        stage.recovered()
        stage.measured.recoveries_s.clear()
        proxy.set(wire)
        stage.lasts(ground.minutes * 30)
        took_s = stage.stop_by_leak()
        stage.lasts(ground.minutes * 30)
        proxy.set(Wire.OPEN)
        stage.measured.recoveries_s.append(took_s)
        stage.measured.demand(took_s < STOP_WITHIN_S, f"the stop took {took_s:.1f} s while ClickHouse was away")
        stage.measured.notes.append(f"the stop took {took_s:.2f} s while ClickHouse was away")
        return stage.verdict()


FAULT = Fault(
    8,
    "clickhouse-refuses",
    "ClickHouse refuses connections for --minutes; a gate is tripped in the middle",
    "the stop goes out in time; afterwards everything stands in ClickHouse, once",
    lambda ground: away(ground, Wire.CUT),
)
