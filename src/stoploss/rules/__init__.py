"""The rules: each is its configuration, a state of its own, and the verbs that fold, judge and close it.

    initial      the state before the first row
    fold         one ledger entry's rows
    tick         a second of ledger time has passed
    close_epoch  the share of traffic changes: arms are compared anew from here on
    judge        what it says now, one verdict per stream

Listing a rule here is testing it: tests/rules/test_every_rule.py checks what all of them promise. The order is the
order in which they are judged: gates, guardrails, budgets, drift, health.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from stoploss.experiment import Experiment
from stoploss.rules.binary_guardrail import BinaryGuardrail, BinaryState
from stoploss.rules.budget import BudgetRule, BudgetState
from stoploss.rules.drift import Drift, DriftState
from stoploss.rules.gate import Gate, GateEvents
from stoploss.rules.guardrail import ContinuousGuardrail, GuardrailState
from stoploss.rules.guardrail_plan import GuardrailPlan
from stoploss.rules.rows import Moment, Rows
from stoploss.rules.sample_ratio import SampleRatio, SampleRatioState
from stoploss.rules.silence import SilenceRule, SilenceState
from stoploss.rules.verdict import Verdict

Rule = Gate | ContinuousGuardrail | BinaryGuardrail | BudgetRule | Drift | SampleRatio | SilenceRule
RuleState = GateEvents | GuardrailState | BinaryState | BudgetState | DriftState | SampleRatioState | SilenceState
RULES: dict[type[Rule], type[RuleState]] = {
    Gate: GateEvents,
    ContinuousGuardrail: GuardrailState,
    BinaryGuardrail: BinaryState,
    BudgetRule: BudgetState,
    Drift: DriftState,
    SampleRatio: SampleRatioState,
    SilenceRule: SilenceState,
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
    for index, budget in enumerate(spec.budgets):
        yield BudgetRule.of(experiment, index, budget)
    for index, watch in enumerate(spec.drift):
        yield Drift.of(experiment, index, watch)
    if spec.health.sample_ratio != "off":
        yield SampleRatio.of(experiment)
    if spec.health.silence is not None:
        yield SilenceRule.of(spec.health.silence)


def rules_version() -> str:
    """What a journal says of the rules that made it: the version of each kind."""
    versions = {rule.__name__: rule.__dataclass_fields__["version"].default for rule in RULES}
    return " ".join(f"{name}@{version}" for name, version in sorted(versions.items()))
