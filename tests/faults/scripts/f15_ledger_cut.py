from __future__ import annotations

from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import HARMED
from tests.installation import messages

SNAPSHOTS_S = 6.0
GROWS_S = 4.0


def run(ground: Ground) -> Measured:
    """The judge is away while the ledger grows, and what it has not read is deleted, as a wrong retention does."""
    with ground.stage() as stage:
        judge = stage.crew["judge"]
        stage.crew.bend("judge", "snapshots_every=2")
        stage.crew.stop("judge")
        stage.crew.again("judge")
        stage.recovered()
        stage.measured.recoveries_s.clear()
        stage.lasts(SNAPSHOTS_S)
        stage.crew.stop("judge")
        stage.service.tell("leak")
        stage.lasts(GROWS_S)
        before = {topic: len(messages(stage.settings, topic)) for topic in ("journal", "control")}
        stage.cut_off("ledger", stage.ends("ledger"))
        stage.crew.again("judge")
        stage.wait(lambda: judge.ended)
        after = {topic: len(messages(stage.settings, topic)) for topic in ("journal", "control")}
        stage.measured.demand(before == after, f"a judge that cannot know the state concluded: {before}, then {after}")
        stage.measured.demand(0 not in judge.ended, f"it ended with {judge.ended}")
        stage.measured.times = 1
        stage.measured.demand("the ledger begins at" in judge.said, "it does not say what is missing")
        stage.measured.demand(stage.flag(HARMED).get("exposure") == 0.5, "a command was given")
        stage.measured.notes.append(f"the judge refused with {judge.ended}; leases lapse, nothing is judged")
        return stage.measured


FAULT = Fault(
    15,
    "ledger-cut",
    "what the judge has not read of the ledger is deleted while it is away: its snapshot is older than the ledger",
    "it does not judge over a gap; it ends and says what is missing, so that leases lapse",
    run,
)
