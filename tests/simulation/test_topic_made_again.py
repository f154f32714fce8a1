"""A topic that is deleted and made again between two looks at the cluster: nobody is told, and nobody rebalances.

Its offsets begin anew, and the group may keep a place of the one before, by a commit that came late.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.bugs.planting import replaced
from tests.simulation.invariants import Violation
from tests.simulation.processes import GroupConsumer
from tests.simulation.roles import TOPICS
from tests.simulation.seams import simulated
from tests.simulation.services import Place
from tests.simulation.traffic import by_sdk
from tests.simulation.world import World

SEEDS = range(40)
TRACES = TOPICS("traces")


class MadeAgain(World):
    """In the end, when all of `traces` is read, it is made again; one trace comes.

    place  of that trace; None: too little had been read, or no experiment runs
    """

    place: Place | None = None

    def _calm_down(self) -> None:
        super()._calm_down()
        standing = self.flags[self.scenario.controllers[0]].standing
        read = [log.partition for log in self.broker.topics[TRACES].logs if log.end > 1]
        if read and standing:
            self._make_again()
            experiment = min(standing)
            trace = self.services._trace(experiment, standing[experiment].exposure)
            value, sent = by_sdk(trace), self.services._judged(trace)
            self.place = self.services._append_trace(value, sent, partition=read[0])
            super()._calm_down()

    def _make_again(self) -> None:
        groups = {name: dict(group.committed) for name, group in self.broker.groups.items()}
        self.broker.delete(TRACES)
        self.broker.create(TRACES, self.scenario.sources)
        for name, committed in groups.items():
            self.broker.group(name).committed.update(committed)


@pytest.fixture(autouse=True)
def _on_the_fake_broker() -> Iterator[None]:
    with simulated():
        yield


def run_all() -> int:
    """How many traces came under another UUID; raises Violation."""
    came = 0
    for seed in SEEDS:
        world = MadeAgain(seed)
        world.run()
        came += world.place is not None
    return came


def test_what_comes_under_the_new_uuid_is_counted() -> None:
    assert run_all() > len(SEEDS) / 3


def test_who_reads_on_as_if_nothing_had_happened_is_found() -> None:
    with (
        replaced(GroupConsumer, "_went_back", lambda *_: False),
        pytest.raises(Violation, match=r"never counted|repeats"),
    ):
        run_all()
