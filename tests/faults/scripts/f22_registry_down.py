from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.proxy import Proxy, Wire

STOP_WITHIN_S = 10.0
TRAFFIC_S = 10.0


def run(ground: Ground) -> Measured:
    proxy = Proxy(ground.broker.proxy.target)
    try:
        told = {"foreign": 0.05}
        with ground.stage(schema_registry=f"http://127.0.0.1:{proxy.port}", service=told) as stage:
            for wire in (Wire.HELD, Wire.CUT):
                proxy.set(wire)
                stage.lasts(TRAFFIC_S)
                stage.recovered()
            took_s = stage.stop_by_leak()
            stage.measured.notes.append(f"the stop took {took_s:.2f} s")
            stage.measured.demand(took_s < STOP_WITHIN_S, f"the stop took {took_s:.1f} s while the registry was down")
            return stage.verdict()
    finally:
        proxy.close()


FAULT = Fault(
    22,
    "registry-down",
    "5 % of records name a schema of a registry that accepts and never answers, then refuses",
    "these are dead letters; their neighbours all arrive, and a stop goes out in time",
    run,
)
