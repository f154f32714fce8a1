from __future__ import annotations

import time

from openfeature.evaluation_context import EvaluationContext

from stoploss.openfeature import StoplossProvider
from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import HARMED, Stage

LEASE_S = 6.0
CANARY_EVERY_MS = 500
USERS = [f"user-{number}" for number in range(100)]
MONITOR = ("intake", "judge", "others")


def treated(service: StoplossProvider) -> int:
    answers = (service.resolve_string_details(HARMED, "", EvaluationContext(user)) for user in USERS)
    return sum(details.value == "small" for details in answers)


def provider(stage: Stage) -> StoplossProvider:
    settings = stage.settings
    keys = [settings.keys / "monitor.pub"]
    return StoplossProvider(stage.broker.bootstrap, public_keys=keys, prefix=settings.topic_prefix, lease_s=LEASE_S)


def run(ground: Ground) -> Measured:
    with ground.stage(canary_every_ms=CANARY_EVERY_MS) as stage:
        service = provider(stage)
        try:
            service.initialize(EvaluationContext())
            stage.wait(lambda: treated(service) > 20)
            for name in MONITOR:
                stage.crew.kill(name, stays_away=True)
            lapsed_s = stage.wait(lambda: treated(service) == 0)
            stage.measured.notes.append(f"everybody got control after {lapsed_s:.1f} s, the lease is {LEASE_S:.0f} s")
            stage.measured.demand(lapsed_s < 2 * LEASE_S, f"a dead monitor's treatment was served for {lapsed_s:.1f} s")
            since_s = time.monotonic()
            for name in MONITOR:
                stage.crew.again(name)
            stage.recovered(since_s)
            stage.wait(lambda: treated(service) > 20)
            stage.stop_by_leak()
            stage.wait(lambda: treated(service) == 0)
            return stage.verdict()
        finally:
            service.shutdown()


FAULT = Fault(
    28,
    "monitor-dead",
    "the whole monitor is killed and stays away for longer than a lease",
    "a service serves everybody control by itself; with the monitor, the treatment comes back",
    run,
    kills=True,
)
