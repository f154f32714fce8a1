"""What the judge remembers: one state per ledger partition, one per experiment in it. A fold of the ledger, no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from stoploss.awaited import Awaited
from stoploss.commands import Micros, Segment
from stoploss.experiment import Experiment
from stoploss.followup import CaseSet, OpenIncident
from stoploss.governance.record import Freeze, Governance, PolicyInForce
from stoploss.journal import GENESIS
from stoploss.lifecycle import Lifecycle
from stoploss.pace import Pace
from stoploss.recent import RecentTraces
from stoploss.rules import (
    AnyRule,
    GuardingRule,
    Guards,
    Hearing,
    HearingRule,
    RuleState,
    WaitingRule,
    Waits,
    rules_of,
)
from stoploss.running import RunningMetrics
from stoploss.segments import EVERYBODY, PATIENCE, Dimension
from stoploss.sight import Sight
from stoploss.spec.file import parsed
from stoploss.units import DailyCap, SeenUnits
from stoploss.waiting import Waiting

RECOMMENDATION = "objective/recommendation"
RECENT_REQUESTS = 256
STALE_TICKS = 5
FORGOTTEN_TICKS = 86_400
"""A source partition of which intake has said nothing for a day is no source any more: a topic was given up."""
CAUGHT_UP_LAG = 1_000


@lru_cache(maxsize=4_096)
def rules_for(spec: str) -> tuple[AnyRule, ...]:
    return rules_of(parsed(spec))


@lru_cache(maxsize=4_096)
def hearing_rules_for(spec: str) -> tuple[HearingRule, ...]:
    """Found once: every status of every source is told to every experiment."""
    return tuple(rule for rule in rules_for(spec) if isinstance(rule, Hearing))


@lru_cache(maxsize=4_096)
def guardrails_for(spec: str) -> tuple[GuardingRule, ...]:
    return tuple(rule for rule in rules_for(spec) if isinstance(rule, Guards))


@lru_cache(maxsize=4_096)
def waiting_rules_for(spec: str) -> tuple[WaitingRule, ...]:
    return tuple(rule for rule in rules_for(spec) if isinstance(rule, Waits))


@lru_cache(maxsize=4_096)
def prompt_rules_for(spec: str) -> tuple[AnyRule, ...]:
    return tuple(rule for rule in rules_for(spec) if not isinstance(rule, Waits))


@dataclass(slots=True)
class AfterStop:
    """Requests that the treatment still served after it was stopped, and what of it was said.

    contradicting  those begun after the stop was applied by all who have to
    in_segments    the same of segments that were stopped while the others run
    """

    in_flight: int = 0
    after_stop: int = 0
    last_at: Micros | None = None
    first_harm_at: Micros | None = None
    said: int = -1
    quiet_ticks: int = 0
    contradicting: int = 0
    contradicting_said: int = 0
    in_segments: dict[str, int] = field(default_factory=dict, metadata={"since": "0.1.0"})


@dataclass(slots=True)
class Desired:
    """The state that commands order, and how far it is applied.

    served_at   ledger time at which the first of them had applied the last command; None: not yet
    applied_at  and at which all who have to had
    """

    release_variant: str
    exposure: float = 0.0
    stopped_segments: list[Segment] = field(default_factory=list)
    command_id: str | None = None
    decided_at: Micros = 0
    awaiting: Awaited = field(default_factory=Awaited)
    acked: list[str] = field(default_factory=list)
    applied_at: Micros | None = None
    served_at: Micros | None = field(default=None, metadata={"since": "0.1.0"})


@dataclass(slots=True)
class RunState:
    """What belongs to one run: from a person's start or resume to the next stop.

    breached  a rule found a breach since the last tick: people plot what was seen then
    waiting   rows that folding.settle has yet to fold; never in a snapshot
    """

    rules: dict[str, RuleState]
    dimensions: dict[str, Dimension]
    metrics: RunningMetrics = field(default_factory=RunningMetrics)
    verdicts: dict[str, str] = field(default_factory=dict)
    after_stop: AfterStop = field(default_factory=AfterStop)
    sight: Sight = field(default_factory=Sight)
    pace: Pace = field(default_factory=Pace)
    breached: bool = False
    waiting: Waiting = field(default_factory=Waiting, metadata={"transient": True})

    @classmethod
    def begin(cls, spec: str) -> RunState:
        experiment = parsed(spec)
        patience = dict.fromkeys(experiment.spec.segments, PATIENCE)
        names = (EVERYBODY, *experiment.dimensions)
        dimensions = {name: Dimension(name, patience=patience.get(name, 1)) for name in names}
        dimensions[EVERYBODY].cells[EVERYBODY] = 0
        return cls({rule.key: rule.initial() for rule in rules_for(spec)}, dimensions)


@dataclass(slots=True)
class Spending:
    """What the treatment has cost since the journal said so last, nano-dollars; since: ledger time of the beginning."""

    nano_usd: int = 0
    since: Micros = 0
    said_at: Micros = 0


@dataclass(slots=True)
class ExperimentState:
    """One experiment.

    watermarks  by source: highest offset whose rows are counted
    recent, recent_outcomes  what came lately, by trace and by what an outcome says: it counts once
    served_otherwise  traces that were not served as declared, for their outcomes
    number      number of the next journal entry, chain: hash of the last
    instances   by controller: its instances that live
    incidents   that people have opened and not closed
    case_sets   evaluation sets with its cases, and what failed on them last
    governance  what people have decided on it
    refusals    commands other than the one in force that controllers have refused; refusals_heard: the last ones' acks
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
    recent_outcomes: RecentTraces = field(default_factory=RecentTraces)
    served_otherwise: RecentTraces = field(default_factory=RecentTraces)
    seen: SeenUnits = field(default_factory=SeenUnits)
    cap: DailyCap = field(default_factory=DailyCap)
    outcome_cap: DailyCap = field(default_factory=DailyCap)
    refused: dict[str, int] = field(default_factory=dict)
    refused_said: dict[str, int] = field(default_factory=dict)
    instances: dict[str, list[str]] = field(default_factory=dict)
    incidents: list[OpenIncident] = field(default_factory=list)
    case_sets: list[CaseSet] = field(default_factory=list, metadata={"since": "0.1.0"})
    governance: Governance = field(default_factory=Governance)
    spending: Spending = field(default_factory=Spending)
    refusals: int = 0
    refusals_heard: list[str] = field(default_factory=list)

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
    def guardrails(self) -> tuple[GuardingRule, ...]:
        return guardrails_for(self.spec)

    @property
    def waiting_rules(self) -> tuple[WaitingRule, ...]:
        return waiting_rules_for(self.spec)

    @property
    def prompt_rules(self) -> tuple[AnyRule, ...]:
        """Those that fold each entry at once."""
        return prompt_rules_for(self.spec)

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

    clock     ledger time: the highest LogAppendTime so far, microseconds; further where the broker's clock was set back
    offset    last entry folded, -1 before the first
    measured  the second of ledger time that was last looked at for measures that are due
    sources   by topic and partition; a topic that was made again takes the place of the one before
    canaries  by source: highest offset of a canary that was heard; they come from canary_topic
    policy    the organisation's, as of here
    freeze    whether the whole line is stopped, as of here
    """

    partition: int
    clock: Micros = 0
    offset: int = -1
    measured: int = 0
    version: str = ""
    experiments: dict[str, ExperimentState] = field(default_factory=dict)
    sources: dict[str, SourceState] = field(default_factory=dict)
    canaries: dict[str, int] = field(default_factory=dict)
    canary_topic: str = ""
    policy: PolicyInForce = field(default_factory=PolicyInForce)
    freeze: Freeze = field(default_factory=Freeze)

    @property
    def caught_up(self) -> bool:
        """Every source partition was read nearly to its end, as of lately."""
        return bool(self.sources) and all(
            source.lag <= CAUGHT_UP_LAG and source.ticks <= STALE_TICKS for source in self.sources.values()
        )


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far an experiment's outputs are published: written in the transaction that publishes them.

    version  of the judge that has published the last; since: number of the journal entry from which on it has all
    """

    experiment: str
    partition: int
    offset: int
    ordinal: int
    run: int
    sequence: int
    number: int
    chain: str
    version: str = ""
    since: int = 0
