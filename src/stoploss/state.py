"""What the judge remembers: one state per ledger partition, one per experiment in it. A fold of the ledger, no more."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from stoploss.commands import Micros, Segment
from stoploss.experiment import Experiment
from stoploss.journal import GENESIS
from stoploss.lifecycle import Lifecycle
from stoploss.rules import AnyRule, Hearing, HearingRule, RuleState, rules_of
from stoploss.rules.rows import Rows
from stoploss.segments import EVERYBODY, PATIENCE, Dimension, SegmentMetrics
from stoploss.spec.file import parse_experiment
from stoploss.units import DailyCap, SeenUnits

RECENT_TRACES = 65_536
RESTORED_PART = 1_024
RECOMMENDATION = "objective/recommendation"
RECENT_REQUESTS = 256
STALE_TICKS = 5
CAUGHT_UP_LAG = 1_000


@lru_cache(maxsize=4_096)
def parsed(spec: str) -> Experiment:
    """The experiment of a spec that was accepted; parsed once per process."""
    return parse_experiment(spec)


@lru_cache(maxsize=4_096)
def rules_for(spec: str) -> tuple[AnyRule, ...]:
    return rules_of(parsed(spec))


@lru_cache(maxsize=4_096)
def hearing_rules_for(spec: str) -> tuple[HearingRule, ...]:
    """Found once: every status of every source is told to every experiment."""
    return tuple(rule for rule in rules_for(spec) if isinstance(rule, Hearing))


class RecentTraces:
    """Hashes of the last 65,536 traces: repeats among them are dropped."""

    PLAIN: ClassVar[Any] = np.ndarray

    def __init__(self) -> None:
        self.order: deque[list[int]] = deque()  # of the blocks that they came in: sets are quick in bulk
        self.known: set[int] = set()

    def fresh(self, trace: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which rows are of a trace not seen lately; remembers them."""
        hashes = trace.tolist()
        if len(set(hashes)) == len(hashes) and self.known.isdisjoint(hashes):
            self._remember(hashes)
            return np.ones(trace.size, np.bool_)
        fresh = np.zeros(trace.size, np.bool_)
        for row, known in enumerate(hashes):
            if known not in self.known:
                fresh[row] = True
                self._remember([known])
        return fresh

    def holds(self, trace: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which rows are of a trace that is known."""
        if not self.known:
            return np.zeros(trace.size, np.bool_)
        return np.fromiter((known in self.known for known in trace.tolist()), np.bool_, trace.size)

    def _remember(self, hashes: list[int]) -> None:
        """Adds hashes that are distinct and not known; forgets as many of the oldest as are too many."""
        self.order.append(hashes)
        self.known.update(hashes)
        while (surplus := len(self.known) - RECENT_TRACES) > 0:
            oldest = self.order.popleft()
            self.known.difference_update(oldest[:surplus])
            if surplus < len(oldest):
                self.order.appendleft(oldest[surplus:])

    def to_plain(self) -> npt.NDArray[np.uint64]:
        return np.array([known for part in self.order for known in part], np.uint64)

    @classmethod
    def from_plain(cls, plain: npt.NDArray[np.uint64]) -> Self:
        restored, hashes = cls(), plain.tolist()
        for start in range(0, len(hashes), RESTORED_PART):
            restored._remember(hashes[start : start + RESTORED_PART])
        return restored


@dataclass(slots=True)
class AfterStop:
    """Requests that the treatment still served after it was stopped, and what of it was said."""

    in_flight: int = 0
    after_stop: int = 0
    last_at: Micros | None = None
    first_harm_at: Micros | None = None
    said: int = -1
    quiet_ticks: int = 0


@dataclass(slots=True)
class Desired:
    """The state that commands order, and how far it is applied."""

    release_variant: str
    exposure: float = 0.0
    stopped_segments: list[Segment] = field(default_factory=list)
    command_id: str | None = None
    decided_at: Micros = 0
    awaiting: list[str] = field(default_factory=list)
    acked: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RunState:
    """What belongs to one run: from a person's start or resume to the next stop.

    waiting  rows that folding.settle has yet to fold, and their ledger time; never in a snapshot
    """

    rules: dict[str, RuleState]
    dimensions: dict[str, Dimension]
    metrics: SegmentMetrics = field(default_factory=SegmentMetrics)
    verdicts: dict[str, str] = field(default_factory=dict)
    after_stop: AfterStop = field(default_factory=AfterStop)
    waiting: list[Rows] = field(default_factory=list, metadata={"transient": True})
    waiting_at: Micros = field(default=0, metadata={"transient": True})

    @classmethod
    def begin(cls, spec: str) -> RunState:
        experiment = parsed(spec)
        patience = dict.fromkeys(experiment.spec.segments, PATIENCE)
        names = (EVERYBODY, *experiment.dimensions)
        dimensions = {name: Dimension(name, patience=patience.get(name, 1)) for name in names}
        dimensions[EVERYBODY].cells[EVERYBODY] = 0
        return cls({rule.key: rule.initial() for rule in rules_for(spec)}, dimensions)


@dataclass(slots=True)
class ExperimentState:
    """One experiment.

    watermarks  by source: highest offset whose rows are counted
    served_otherwise  traces that were not served as declared, for their outcomes
    number      number of the next journal entry, chain: hash of the last
    """

    name: str
    partition: int
    spec: str
    spec_hash: str
    desired: Desired
    current: RunState
    lifecycle: Lifecycle = Lifecycle.REGISTERED
    run: int = 0
    epoch: int = 0
    epoch_open: bool = False
    sequence: int = 0
    number: int = 0
    chain: str = GENESIS
    watermarks: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    recent: RecentTraces = field(default_factory=RecentTraces)
    served_otherwise: RecentTraces = field(default_factory=RecentTraces)
    seen: SeenUnits = field(default_factory=SeenUnits)
    cap: DailyCap = field(default_factory=DailyCap)
    outcome_cap: DailyCap = field(default_factory=DailyCap)
    refused: dict[str, int] = field(default_factory=dict)
    refused_said: dict[str, int] = field(default_factory=dict)

    @property
    def experiment(self) -> Experiment:
        return parsed(self.spec)

    @property
    def rules(self) -> tuple[AnyRule, ...]:
        return rules_for(self.spec)

    @property
    def hearing_rules(self) -> tuple[HearingRule, ...]:
        return hearing_rules_for(self.spec)

    @property
    def recommendation(self) -> str | None:
        """The objective's word to people, as it was last said in this run; None: nothing yet."""
        said = self.current.verdicts.get(RECOMMENDATION)
        return said.partition("/")[0] if said else None

    @property
    def share(self) -> float | None:
        """Share of the treatment in the open epoch; None while none is open."""
        return self.desired.exposure if self.epoch_open else None


@dataclass(slots=True)
class SourceState:
    """What intake last said of a source partition, and how many ticks ago."""

    lag: int
    ticks: int = 0


@dataclass(slots=True)
class PartitionState:
    """One ledger partition.

    clock     ledger time: the highest LogAppendTime so far, microseconds
    offset    last entry folded, -1 before the first
    measured  the ten seconds of ledger time in which measures were last due
    sources   by topic and partition; a topic that was made again takes the place of the one before
    """

    partition: int
    clock: Micros = 0
    offset: int = -1
    measured: int = 0
    version: str = ""
    experiments: dict[str, ExperimentState] = field(default_factory=dict)
    sources: dict[str, SourceState] = field(default_factory=dict)

    @property
    def caught_up(self) -> bool:
        """Every source partition was read nearly to its end, as of lately."""
        return bool(self.sources) and all(
            source.lag <= CAUGHT_UP_LAG and source.ticks <= STALE_TICKS for source in self.sources.values()
        )


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far an experiment's outputs are published: written in the transaction that publishes them."""

    experiment: str
    partition: int
    offset: int
    ordinal: int
    run: int
    sequence: int
    number: int
    chain: str
