from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Ending, Measured
from tests.faults.stage import CALM, HARMED

SNAPSHOTS_S = 6.0
GROWS_S = 4.0


def run(ground: Ground) -> Measured:
    """The judge is away while the ledger grows, and what it has not read is deleted, as a wrong retention does."""
    with ground.stage() as stage:
        stage.crew.bend("judge", "snapshots_every=2")
        stage.crew.stop("judge")
        stage.crew.again("judge")
        stage.recovered()
        stage.measured.recoveries_s.clear()
        stage.lasts(SNAPSHOTS_S)
        stage.crew.stop("judge")
        stage.service.tell("leak")
        stage.lasts(GROWS_S)
        stage.cut_off("ledger", stage.ends("ledger"))
        stage.crew.again("judge")
        stage.recovered()
        for experiment in (HARMED, CALM):
            stage.wait(lambda name=experiment: stage.flag(name).get("exposure") == 0, what=f"{experiment} is paused")
            stage.measured.demand(stage.is_in(experiment, "paused"), f"{experiment} is {stage.lifecycle(experiment)}")
        said = stage.crew["judge"].said
        stage.measured.demand("the ledger was deleted further" in said, "the judge does not say what happened")
        stage.measured.demand(not stage.crew["judge"].ended, f"the judge ended with {stage.crew['judge'].ended}")
        for experiment in (HARMED, CALM):
            stage.installation.ask("resume", experiment, exposure=0.5)
            stage.wait(lambda name=experiment: stage.flag(name).get("exposure") == 0.5, what=f"{experiment} runs again")
        stage.stop_by_leak()
        stage.measured.times = 1
        resumed = ("set_exposure", "pause", "set_exposure")
        return stage.verdict(Ending("stopped", 0.0, (*resumed, "stop")), Ending(actions=resumed), ledger_whole=False)


FAULT = Fault(
    15,
    "ledger-cut",
    "what the judge has not read of the ledger is deleted while it is away: its snapshot is older than the ledger",
    "what runs is paused and says why; a person resumes, and it is judged anew",
    run,
)
