"""The states of the judges that live, held against the witness's fold of the same ledger."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stoploss import snapshot
from stoploss.folding import settle
from stoploss.state import PartitionState
from tests.simulation.roles import KEYS

if TYPE_CHECKING:
    from tests.simulation.processes import Process
    from tests.simulation.world import World


class Judged:
    """
    folded  the witness's states, by partition: all that the ledger holds
    """

    def __init__(self, world: World, folded: Sequence[PartitionState]) -> None:
        self.world, self.folded = world, folded
        self._compared: dict[tuple[Process, int], int] = {}

    def differ(self) -> Iterator[str]:
        """Of each judge that has folded all that its partition holds, asked once for each entry that it stood at."""
        for process in (*self.world.zombies, self.world.current["judge"]):
            if process is None or process.dead or process.role != "judge":
                continue
            for partition, folded in enumerate(self.folded):
                state, place = _state(process, partition), (process, partition)
                if state is None or not state.offset == folded.offset != self._compared.get(place, -1):
                    continue
                self._compared[place] = folded.offset
                if _stored(state) != _stored(folded):
                    yield f"{process}'s state of partition {partition} is not a fresh fold of the ledger"

    def behind(self) -> Iterator[str]:
        """Partitions of which something is not folded yet."""
        process = self.world.current["judge"]
        assert process is not None
        for partition, folded in enumerate(self.folded):
            state = _state(process, partition)
            offset = state.offset if state else -1
            if offset != folded.offset:
                yield f"partition {partition}: the judge is at {offset} of {folded.offset}"


def _state(process: Process, partition: int) -> PartitionState | None:
    judges = getattr(process.made, "_judges", {})
    return judges[partition]._state if partition in judges else None


def _stored(state: PartitionState) -> bytes:
    """As a snapshot has it. Of a copy: to fold what waits would help who has forgotten to."""
    copied = copy.deepcopy(state)
    for experiment in copied.experiments.values():
        settle(experiment)
    return snapshot.dump(copied, KEYS.secret)
