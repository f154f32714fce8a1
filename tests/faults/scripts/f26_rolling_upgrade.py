from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import Stage


def rolled(stage: Stage, before: str, after: str, bend: str | None) -> None:
    """The next one comes, then the last one goes."""
    stage.crew.start(after, "worker", "judge", bend=bend)
    stage.wait(lambda: stage.crew[before].ready() and stage.crew[after].ready())
    stage.crew.stop(before)
    stage.recovered()


def run(ground: Ground) -> Measured:
    with ground.stage() as stage:
        rolled(stage, "judge", "judge-next", "version=99.0.0,snapshots_every=2")
        rolled(stage, "judge-next", "judge-back", None)
        stage.stop_by_leak()
        return stage.verdict()


FAULT = Fault(
    26,
    "rolling-upgrade",
    "the judge is rolled to another version and back, one worker at a time, with snapshots of both",
    "state is kept both ways; the ledger names each version",
    run,
)
