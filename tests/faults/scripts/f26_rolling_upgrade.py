from __future__ import annotations

from collections import defaultdict

from stoploss import __version__
from stoploss.ledger import JudgeVersion
from tests.faults.fault import Fault, Ground
from tests.faults.measured import Measured
from tests.faults.stage import Stage
from tests.installation import facts_of

OTHER = "99.0.0"


def rolled(stage: Stage, before: str, after: str, bend: str | None) -> None:
    """The next one comes, then the last one goes."""
    stage.crew.start(after, "worker", "judge", bend=bend)
    stage.wait(lambda: stage.crew[before].ready() and stage.crew[after].ready())
    stage.crew.stop(before)
    stage.recovered()


def versions(stage: Stage) -> dict[int, list[str]]:
    """By ledger partition, who says in it that it judges from there on, take-overs by the same one as one."""
    named: dict[int, list[str]] = defaultdict(list)
    for fact in facts_of(stage.settings):
        if isinstance(fact, JudgeVersion) and named[fact.partition][-1:] != [fact.stoploss]:
            named[fact.partition].append(fact.stoploss)
    return named


def run(ground: Ground) -> Measured:
    with ground.stage() as stage:
        rolled(stage, "judge", "judge-next", f"version={OTHER},snapshots_every=2")
        rolled(stage, "judge-next", "judge-back", None)
        stage.stop_by_leak()
        for partition, named in versions(stage).items():
            whole = named == [__version__, OTHER, __version__]
            stage.measured.demand(whole, f"ledger partition {partition} names the versions {named}")
        stage.measured.demand(len(versions(stage)) == stage.settings.ledger_partitions, "a partition names no version")
        return stage.verdict()


FAULT = Fault(
    26,
    "rolling-upgrade",
    "the judge is rolled to another version and back, one worker at a time, with snapshots of both",
    "state is kept both ways; the ledger names each version",
    run,
)
