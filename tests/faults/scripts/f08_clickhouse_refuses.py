from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Ending, Measured
from tests.faults.proxy import Wire
from tests.faults.stage import HARMED, ROLES, Stage

AWAY_S = 600.0
STOPS = 4
STOP_WITHIN_S = 5.0
ENDING = Ending("stopped", 0.0, ("set_exposure", "stop") * STOPS)


def resume(stage: Stage) -> None:
    stage.installation.ask("resume", HARMED, exposure=0.5)
    stage.wait(lambda: stage.flag(HARMED).get("exposure") == 0.5, what="the harmed experiment runs again")


def away(ground: Ground, wire: Wire) -> Measured:
    """The wire to ClickHouse is so for a while; stops are due all through it, each in a run of its own."""
    roles = {**ROLES, "recorder": ("recorder",)}
    [away_s] = ground.durations_s(AWAY_S)
    with (
        ground.wire() as proxy,
        ground.stage(roles=roles, clickhouse=ground.clickhouse, recorded_through=proxy) as stage,
    ):
        stage.recovered()
        stage.measured.recoveries_s.clear()
        stage.measured.times = STOPS
        proxy.set(wire)
        for number in range(STOPS):
            if number:
                resume(stage)
            stage.lasts(away_s / (STOPS + 1))
            stage.measured.recoveries_s.append(stage.stop_by_leak())
        stage.lasts(away_s / (STOPS + 1))
        proxy.set(Wire.OPEN)
        slowest_s = max(stage.measured.recoveries_s)
        stage.measured.demand(slowest_s < STOP_WITHIN_S, f"a stop took {slowest_s:.1f} s while ClickHouse was away")
        stage.measured.notes.append(f"{STOPS} stops while ClickHouse was away {away_s:.0f} s, in {slowest_s:.2f} s")
        return stage.verdict(ENDING)


FAULT = Fault(
    8,
    "clickhouse-refuses",
    f"ClickHouse refuses connections for {AWAY_S:.0f} s; a gate is tripped {STOPS} times, in a run of its own each",
    "each stop goes out in time; afterwards everything stands in ClickHouse, once",
    lambda ground: away(ground, Wire.CUT),
)
