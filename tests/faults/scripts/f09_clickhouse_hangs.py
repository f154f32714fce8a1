from __future__ import annotations

from tests.faults.fault import Fault
from tests.faults.proxy import Wire
from tests.faults.scripts.f08_clickhouse_refuses import away

FAULT = Fault(
    9,
    "clickhouse-hangs",
    "ClickHouse accepts connections and never answers for --minutes; a gate is tripped in the middle",
    "the stop goes out in time; afterwards everything stands in ClickHouse, once",
    lambda ground: away(ground, Wire.HELD),
)
