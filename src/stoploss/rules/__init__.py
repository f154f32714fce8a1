"""The rules: each is its configuration, a state of its own, and the verbs that fold, judge and close it.

    initial      the state before the first row
    fold         one ledger entry's rows
    tick         a second of ledger time has passed
    close_epoch  the share of traffic changes: arms are compared anew from here on
    judge        what it says now, one verdict per stream
    hear         a fact that is no evidence: how far intake is, acks; only of rules that listen (Hearing)
    looking      what it is about to compare; only of rules that compare the arms (Guards)
    can_wait     how many rows may come before it need fold any; only of rules that can let them wait (Waits)

Listing a rule here is testing it: tests/rules/test_every_rule.py checks what all of them promise. The order is the
order in which they are judged: gates, guardrails, regressions, budgets, drift, interactions, health, the objective.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from stoploss.experiment import Experiment
from stoploss.ledger import AckOverdue, AckReceived, SourceStatus
from stoploss.rules.alignment import AlignmentRule, AlignmentState
from stoploss.rules.audit import AuditRule, AuditState
from stoploss.rules.binary_guardrail import BinaryGuardrail, BinaryState
from stoploss.rules.budget import BudgetRule, BudgetState
from stoploss.rules.cell_looks import Looking
from stoploss.rules.coverage import CoverageRule, CoverageState
from stoploss.rules.declared import Declared, DeclaredState
from stoploss.rules.drift import Drift, DriftState
from stoploss.rules.forecast import Forecast, ForecastState
from stoploss.rules.gate import Gate, GateEvents
from stoploss.rules.guardrail import ContinuousGuardrail, GuardrailState
from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.rules.interaction import InteractionRule, InteractionState, interactions_of
from stoploss.rules.judge_drift import JudgeDrift, JudgeDriftState
from stoploss.rules.mix_drift import MixDrift, MixState
from stoploss.rules.objective import ObjectiveRule, ObjectiveState
from stoploss.rules.objective_plan import ObjectivePlan
from stoploss.rules.over_exposure import OverExposure, OverExposureState
from stoploss.rules.overdue import Overdue, OverdueState
from stoploss.rules.regression import Regression, RegressionState
from stoploss.rules.rejects import Rejects, RejectsState
from stoploss.rules.rows import Moment, Rows
from stoploss.rules.sample_ratio import SampleRatio, SampleRatioState
from stoploss.rules.silence import SilenceRule, SilenceState
from stoploss.rules.uncounted import Uncounted, UncountedState
from stoploss.rules.unresolved import UnresolvedRule, UnresolvedState
from stoploss.rules.verdict import Verdict

Rule = (
    Gate
    | ContinuousGuardrail
    | BinaryGuardrail
    | Regression
    | BudgetRule
    | Forecast
    | Drift
    | Declared
    | MixDrift
    | JudgeDrift
    | AuditRule
    | AlignmentRule
    | InteractionRule
    | SampleRatio
    | OverExposure
    | SilenceRule
    | CoverageRule
    | Rejects
    | UnresolvedRule
    | Uncounted
    | Overdue
    | ObjectiveRule
)
RuleState = (
    GateEvents
    | GuardrailState
    | BinaryState
    | RegressionState
    | BudgetState
    | ForecastState
    | DriftState
    | DeclaredState
    | MixState
    | JudgeDriftState
    | AuditState
    | AlignmentState
    | InteractionState
    | SampleRatioState
    | OverExposureState
    | SilenceState
    | CoverageState
    | RejectsState
    | UnresolvedState
    | UncountedState
    | OverdueState
    | ObjectiveState
)
RULES: dict[type[Rule], type[RuleState]] = {
    Gate: GateEvents,
    ContinuousGuardrail: GuardrailState,
    BinaryGuardrail: BinaryState,
    Regression: RegressionState,
    BudgetRule: BudgetState,
    Forecast: ForecastState,
    Drift: DriftState,
    Declared: DeclaredState,
    MixDrift: MixState,
    JudgeDrift: JudgeDriftState,
    AuditRule: AuditState,
    AlignmentRule: AlignmentState,
    InteractionRule: InteractionState,
    SampleRatio: SampleRatioState,
    OverExposure: OverExposureState,
    SilenceRule: SilenceState,
    CoverageRule: CoverageState,
    Rejects: RejectsState,
    UnresolvedRule: UnresolvedState,
    Uncounted: UncountedState,
    Overdue: OverdueState,
    ObjectiveRule: ObjectiveState,
}


class AnyRule(Protocol):
    """What the monitor asks of every rule; the state is the rule's own."""

    @property
    def key(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def version(self) -> int: ...
    def initial(self) -> Any: ...
    def fold(self, state: Any, rows: Rows, moment: Moment) -> None: ...
    def tick(self, state: Any, moment: Moment) -> None: ...
    def close_epoch(self, state: Any, moment: Moment) -> None: ...
    def judge(self, state: Any, moment: Moment) -> Iterator[Verdict]: ...


Heard = SourceStatus | AckReceived | AckOverdue


@runtime_checkable
class Hearing(Protocol):
    """What a rule has that listens to facts beside the evidence, as well as the verbs of all."""

    def hear(self, state: Any, fact: Heard, moment: Moment) -> None: ...


class HearingRule(AnyRule, Hearing, Protocol):
    """A rule that listens."""


@runtime_checkable
class Waits(Protocol):
    """What a rule has that need not fold each entry at once: its sums are exact, and few entries are news to it."""

    def can_wait(self, state: Any) -> int:
        """Rows that may come within the ledger second of the last fold and be no news, together or apart."""


@runtime_checkable
class Guards(Protocol):
    """What a guardrail has: it compares the arms, and can do so together with others."""

    def looking(self, state: Any) -> Looking: ...


class GuardingRule(AnyRule, Guards, Protocol):
    """A guardrail."""


class WaitingRule(AnyRule, Waits, Protocol):
    """A rule whose rows may wait."""


def rules_of(experiment: Experiment) -> tuple[AnyRule, ...]:
    """All rules of an experiment, in the order in which they are judged."""
    return tuple(_rules(experiment))


def state_type(rule: AnyRule) -> type[RuleState]:
    """The class that a rule's state is restored to."""
    return RULES[type(rule)]  # type: ignore[index]


def _rules(experiment: Experiment) -> Iterator[Rule]:
    spec = experiment.spec
    yield Gate.of(experiment)
    for index, guardrail in enumerate(spec.guardrails):
        plan = GuardrailPlan.of(experiment, index, guardrail)
        yield BinaryGuardrail(plan) if plan.binary else ContinuousGuardrail(plan)
    for index, guardrail in enumerate(spec.guardrails):
        yield Regression.of(GuardrailPlan.of(experiment, index, guardrail))
    for index, budget in enumerate(spec.budgets):
        yield BudgetRule.of(experiment, index, budget)
        if budget.limit is not None:
            yield Forecast.of(experiment, index, budget)
    for index, watch in enumerate(spec.drift):
        yield MixDrift.of(experiment, index, watch) if watch.mix else Drift.of(experiment, index, watch)
    yield from interactions_of(experiment)
    if experiment.serving is not None:
        yield Declared.of(experiment.serving)
    yield from _health(experiment)
    if spec.objective is not None:
        yield ObjectiveRule(ObjectivePlan.of(experiment, spec.objective))


def _health(experiment: Experiment) -> Iterator[Rule]:
    """Whether the measuring can be believed, and whether what was ordered happens."""
    health = experiment.spec.health
    if health.judge_reference is not None:
        yield JudgeDrift.of(health.judge_reference)
    if health.audit is not None:
        yield AuditRule.of(health.audit)
    if health.alignment is not None:
        yield AlignmentRule.of(health.alignment)
    if health.sample_ratio != "off":
        yield SampleRatio.of(experiment)
    if health.watches_over_exposure:
        yield OverExposure.of(experiment)
    if health.silence is not None:
        yield SilenceRule.of(health.silence)
    if health.coverage is not None:
        yield CoverageRule.of(health.coverage)
    if health.rejects != "off":
        yield Rejects.of(experiment)
    if health.unresolved is not None:
        yield UnresolvedRule.of(health.unresolved)
    uncounted = Uncounted.of(experiment)
    if uncounted.metrics:
        yield uncounted
    yield Overdue.of(experiment)


def rules_version() -> str:
    """What a journal says of the rules that made it: the version of each kind."""
    versions = {rule.__name__: rule.__dataclass_fields__["version"].default for rule in RULES}
    return " ".join(f"{name}@{version}" for name, version in sorted(versions.items()))
