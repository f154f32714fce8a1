from __future__ import annotations

import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured

ROLES = ("intake", "judge")
TIMEOUT_S, SLOW_S = 15.0, 18.0
LIST_OFFSETS, OFFSET_FETCH = 2, 9


def run(ground: Ground) -> Measured:
    """The workers reach the broker through the proxy, which holds back what tells them where to begin."""
    proxy = ground.broker.proxy
    with ground.stage() as stage:
        for role in ROLES:
            stage.crew.stop(role)
            proxy.slow[OFFSET_FETCH], proxy.slow[LIST_OFFSETS] = [SLOW_S], [SLOW_S]
            member = stage.crew.start(f"{role}-slow", "worker", role, kafka=ground.broker.proxied)
            stage.wait(member.ready)
            stage.measured.times += 1
            stage.measured.recoveries_s.append(time.monotonic() - proxy.slow_until_s)
            used = not proxy.slow[OFFSET_FETCH] or not proxy.slow[LIST_OFFSETS]
            stage.measured.demand(used, f"nothing that {role} asked was slow")
            proxy.slow.clear()
        stage.recovered()
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    16,
    "slow-seek",
    f"where a worker begins to read is answered after {SLOW_S:.0f} s, with a request timeout of {TIMEOUT_S:.0f} s",
    "it reads on all the same, or ends and is started again; it never stands still in silence",
    run,
)
