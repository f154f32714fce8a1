"""Two judges over one ledger: one by the recorded spec, one by another. The traffic is that of the recorded run.

The other judge sees the same requests, at the exposure at which they were really served and in the same epochs, so it
can be believed up to the moment at which the recorded run took the treatment away: what would have come after that was
never observed. There its run ends too. What its own commands would have done to the traffic is undone where it can be
told (a stop, a stopped segment), and left alone where it cannot (a throttle).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from stoploss.commands import Micros
from stoploss.decisions import close_epoch
from stoploss.evidence import Columns, block_columns
from stoploss.experiment import Experiment
from stoploss.journal import RequestHandled
from stoploss.ledger import Entry, EvidenceBlock, Fact, Request
from stoploss.lifecycle import LATCHED, LIVE, POLICY, Lifecycle
from stoploss.monitor import step
from stoploss.outputs import JournalOutput, Output, Outputs
from stoploss.replaying import exposures, recorded_enough
from stoploss.replaying.acts import Act, Side
from stoploss.replaying.translation import translated
from stoploss.spec.file import parsed
from stoploss.spec.unpaced import unpaced
from stoploss.state import ExperimentState, PartitionState

BEGINS = frozenset({"start", "resume"})
BY = "replay"
AGREED = (POLICY, "approve", "reject", "complete", "reviewed")
"""What people agreed on is about the recorded spec; the other one is asked what it would have found."""


@dataclass(slots=True)
class Run:
    """One recorded run, as both judges saw it.

    until      when the recorded run took the treatment away, or the last entry that was recorded
    exposure   the share that the treatment has, or had at the last
    treated    requests that the treatment served; of requests that repeat, the first counts
    saved      by act of the other: requests of the treatment that it would have spared
    added      by recorded act: the treatment's share of the requests that the other would still have split
    """

    number: int
    began_at: Micros
    until: Micros
    exposure: float = 0.0
    treated: int = 0
    recorded: list[Act] = field(default_factory=list)
    other: list[Act] = field(default_factory=list)
    saved: dict[int, float] = field(default_factory=dict)
    added: dict[int, float] = field(default_factory=dict)


class SideBySide:
    """Fed with what replay.judged gives of a ledger partition; `runs` has what both judges did of one experiment."""

    def __init__(self, experiment: str, recorded: PartitionState, text: str, file: str) -> None:
        self.name, self.text, self.file = experiment, unpaced(text), file
        self.spec: Experiment = parsed(self.text)
        self.runs: list[Run] = []
        self._recorded, self._other = recorded, PartitionState(recorded.partition)
        self._sides = (Side(), Side())
        self._asked = 0

    def take(self, entry: Entry, outputs: list[Output]) -> None:
        """An entry that the recorded judge has folded, and what followed from it."""
        fact = entry.fact
        if isinstance(fact, Request) and fact.action in AGREED:
            return
        if getattr(fact, "experiment", self.name) != self.name:
            self._step(entry, fact)
            return
        if not _obeyed(fact, outputs):
            return
        if isinstance(fact, EvidenceBlock):
            self._count(fact)
        if isinstance(fact, Request) and fact.action in BEGINS:
            recorded_enough.require(self._state.experiment, self.spec, self.file)
            self._pause(entry)
        said = self._step(entry, self._told(fact))
        if self.name not in self._recorded.experiments:
            return
        if isinstance(fact, Request) and fact.action in BEGINS:
            self._begin()
        for side, state, news in zip(self._sides, (self._state, self._twin), (outputs, said), strict=True):
            side.note(state, news, self._recorded.clock)
        self._follow(entry)

    @property
    def _state(self) -> ExperimentState:
        return self._recorded.experiments[self.name]

    @property
    def _twin(self) -> ExperimentState:
        return self._other.experiments[self.name]

    def _told(self, fact: Fact) -> Fact:
        """The fact as the other judge hears it: where the recorded one was given another spec, it begins anew, too."""
        if isinstance(fact, Request) and fact.action in ("register", "amend"):
            edition = fact.edition if fact.action == "register" else None
            return replace(fact, action="register", spec=self.text, spec_hash=None, edition=edition)
        if isinstance(fact, EvidenceBlock) and self.name in self._recorded.experiments:
            return translated(fact, self._state.spec_hash, self.spec)
        return fact

    def _step(self, entry: Entry, fact: Fact) -> list[Output]:
        return step(self._other, replace(entry, fact=fact))

    # ---- runs ------------------------------------------------------------------------------------

    def _begin(self) -> None:
        assert self._twin.run == self._state.run, "every run that the recorded judge began was begun by the other"
        at = self._recorded.clock
        for side in self._sides:
            side.begin()
        recorded, other = (side.acts for side in self._sides)
        self.runs.append(Run(self._state.run, at, at, recorded=recorded, other=other))

    def _pause(self, entry: Entry) -> None:
        """A run that is resumed has ended: the recorded one held, and the other's may still run."""
        if self.name in self._other.experiments and self._twin.lifecycle in LIVE:
            self._order(entry, "pause")

    def _order(self, entry: Entry, action: str) -> None:
        self._asked += 1
        self._step(entry, Request(f"{BY}-{self._asked}", self.name, action, BY, "the recorded run ended", entry.at))

    def _follow(self, entry: Entry) -> None:
        """The other judge's run ends with the recorded one; until then its epochs and exposure are the recorded."""
        state, twin = self._state, self._twin
        if state.lifecycle in LIVE:
            self._live(state, twin, entry)
        elif state.lifecycle == Lifecycle.PAUSED and twin.lifecycle in LIVE:
            self._order(entry, "pause")
        elif state.lifecycle in LATCHED and twin.lifecycle in LIVE | {Lifecycle.PAUSED}:
            self._order(entry, "stop")

    def _live(self, state: ExperimentState, twin: ExperimentState, entry: Entry) -> None:
        run = self.runs[-1]
        run.until, run.exposure = self._recorded.clock, state.desired.exposure
        if twin.lifecycle not in LIVE:
            return
        stopped = list(dict.fromkeys((*twin.desired.stopped_segments, *state.desired.stopped_segments)))
        epoch = (state.epoch, state.epoch_open, state.desired.exposure, stopped)
        if epoch != (twin.epoch, twin.epoch_open, twin.desired.exposure, twin.desired.stopped_segments):
            close_epoch(twin, Outputs(self._other.partition, entry.offset, self._other.clock, ""))
            twin.epoch, twin.epoch_open, twin.desired.exposure, twin.desired.stopped_segments = epoch

    # ---- requests --------------------------------------------------------------------------------

    def _count(self, block: EvidenceBlock) -> None:
        """Must be told before the other judge hears the block: its watermarks say which rows are new."""
        if not self.runs or block.outcomes or block.spec_hash != self._state.spec_hash:
            return
        columns, run = block_columns(block), self.runs[-1]
        fresh = self._fresh(block, columns)
        run.treated += int(np.count_nonzero(fresh & (columns.variant == 1)))
        _add(run.saved, exposures.saved(run.recorded, run.other, columns, fresh), 1.0)
        _add(run.added, exposures.withheld(run.recorded, run.other, columns, fresh), run.exposure)

    def _fresh(self, block: EvidenceBlock, columns: Columns) -> npt.NDArray[np.bool_]:
        seen = np.array([self._twin.watermarks.get(source.key, -1) for source in block.sources], np.int64)
        return columns.offset > seen[columns.source]


def _add(sums: dict[int, float], rows: npt.NDArray[np.int64], share: float) -> None:
    for place in np.flatnonzero(rows).tolist():
        sums[place] = sums.get(place, 0.0) + share * int(rows[place])


def _obeyed(fact: Fact, outputs: Iterable[Output]) -> bool:
    """False for a request that the recorded judge refused or had heard before: the other must not obey it either."""
    return not isinstance(fact, Request) or any(handled.accepted for handled in _handled(outputs))


def _handled(outputs: Iterable[Output]) -> Iterator[RequestHandled]:
    for output in outputs:
        if isinstance(output, JournalOutput) and isinstance(output.entry.conclusion, RequestHandled):
            yield output.entry.conclusion
