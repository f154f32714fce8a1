"""Runs in which a topic is deleted and made again between two looks at the cluster: nobody is told, nobody rebalances.

Its offsets begin anew, and the group may keep a place of the one before, by a commit that came late.
"""

from __future__ import annotations

from contextlib import suppress

from streams.batches import Mark
from tests.simulation.roles import TOPICS
from tests.simulation.services import Place
from tests.simulation.traffic import by_sdk
from tests.simulation.world import World

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


class CommittedLate(MadeAgain):
    """A commit of its first record was on its way while it was made again; then whoever had sent it dies, and another
    asks the group where to begin."""

    def _make_again(self) -> None:
        process = self.current["intake"]
        assert process is not None
        assert process.app is not None
        consumer = process.app.consumer
        marks = {tp: Mark(1, partition.log) for tp, partition in consumer._partitions.items() if tp.topic == TRACES}
        super()._make_again()
        with suppress(StopIteration):
            consumer._thread.commit_once(marks).send(None)
        self.kill(process)
