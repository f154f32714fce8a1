from __future__ import annotations

import time

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Ending, Measured
from tests.faults.stage import CALM


def run(ground: Ground) -> Measured:
    """The judge dies with each of three commands: a pause, a resume and a stop."""
    with ground.stage() as stage:
        judge = stage.crew["judge"]
        stage.crew.bend("judge", "dies_after_command")
        stage.crew.kill("judge")
        for action in ("pause", "resume"):
            stage.installation.ask(action, CALM, exposure=0.5 if action == "resume" else None)
        stage.stop_by_leak()
        stage.wait(lambda: len(judge.ended) >= 3)
        since_s = time.monotonic()
        stage.recovered(since_s)
        stage.measured.times = len(judge.ended)
        stage.measured.demand(set(judge.ended) == {-9}, f"the judge ended with {judge.ended}, not by its kills alone")
        return stage.verdict(calm=Ending(actions=("set_exposure", "pause", "set_exposure")))


FAULT = Fault(
    3,
    "kill-after-command",
    "the judge is killed right after it has committed a command, before a snapshot, three times",
    "the next judge folds over it and gives it no second time",
    run,
    kills=True,
)
