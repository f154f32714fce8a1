from __future__ import annotations

from tests.faults.fault import Fault
from tests.faults.proxy import Wire
from tests.faults.scripts.f08_clickhouse_refuses import AWAY_S, STOPS, away

FAULT = Fault(
    9,
    "clickhouse-hangs",
    f"ClickHouse accepts connections and never answers for {AWAY_S:.0f} s; a gate is tripped {STOPS} times, in a run "
    "of its own each",
    "each stop goes out in time; afterwards everything stands in ClickHouse, once",
    lambda ground: away(ground, Wire.HELD),
)
