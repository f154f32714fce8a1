"""The organisation's policy: definitions that all experiments share, and what each class of risk asks for.

Parsed once, at the edge (policy/file.py). Field names are snake_case here and camelCase in YAML.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stoploss.experiment import Freeze, Window
from stoploss.governance.bodies import Domain
from stoploss.spec.base import Name, Part, Seconds, Share

Family = Literal["business", "wellbeing", "health"]
Evidence = Literal[
    "success",
    "metric_families",
    "unit_guardrails",
    "resources",
    "risk_register",
    "baselines",
    "assessments",
    "owners",
    "purpose",
    "rollback_plan",
    "offline_evaluation",
    "rehearsed_rollback",
    "traffic",
]
"""What a spec, or the record of an experiment, has to have; see policy/requirements.py for each."""
AT_START = frozenset({"offline_evaluation", "rehearsed_rollback"})
"""Needed when exposure is raised; all other evidence stands in the spec and is needed when it is registered."""

RISK = "risk"
"""The label of a spec that names its class of risk."""


class MetricDefinition(Part):
    """What the organisation means by a metric or score.

    family  business: what the company wants; wellbeing: what the user feels; health: whether the system works
    """

    family: Family
    definition: str = Field(min_length=1)
    better: Literal["lower", "higher"] | None = None
    owner: str | None = None


class Strategy(Part):
    """Prices of cost and risk under one name, such as growth, margin or safety."""

    lambda_cost: float = Field(ge=0, le=1e6)
    lambda_risk: float = Field(ge=0, le=1e6)


class RiskClass(Part):
    """What an experiment of this class needs.

    approvals         people by domain who have to approve
    largest_exposure  share of traffic that the treatment may get
    largest_alpha     error that a guardrail may be given
    windows           hours in which exposure may be raised; without any, at all times
    runs_only_inside  outside of them, and of the spec's own, the treatment has the spec's safe share and no more
    require           evidence, beside what the policy requires of all classes
    """

    approvals: dict[Domain, Annotated[int, Field(ge=1, le=9)]] = Field(default_factory=dict)
    largest_exposure: Annotated[Share, Field(gt=0)] = 1.0
    largest_alpha: Annotated[float, Field(gt=0, le=0.2)] = 0.2
    windows: tuple[Window, ...] = ()
    runs_only_inside: bool = False
    require: tuple[Evidence, ...] = ()


class Concurrency(Part):
    """How many experiments may run at once, held against each start and resume (limits/concurrency.py).

    per_team     by metadata.owner
    per_surface, per_tenant, per_segment  that may reach one of them: spec.traffic; what names none reaches all
    """

    total: int | None = Field(None, ge=1)
    per_team: int | None = Field(None, ge=1)
    per_surface: int | None = Field(None, ge=1)
    per_tenant: int | None = Field(None, ge=1)
    per_segment: int | None = Field(None, ge=1)


LONGEST_BUDGET_S = 92 * 86_400
"""So far back the registrar reads the journals when it begins."""


class SpendingLimit(Part):
    """US dollars that treatments may cost in a period of whole hours; periods are counted from 1970 in UTC."""

    limit: float = Field(gt=0, le=1e9)
    period: Annotated[Seconds, Field(le=LONGEST_BUDGET_S, multiple_of=3_600)]

    @property
    def nano_usd(self) -> int:
        return round(self.limit * 1_000_000_000)


class Budgets(Part):
    """What all experiments together, those of a team, and each may cost. teams: by metadata.owner, before perTeam."""

    programme: SpendingLimit | None = None
    per_team: SpendingLimit | None = None
    teams: dict[str, SpendingLimit] = Field(default_factory=dict)
    per_experiment: SpendingLimit | None = None

    def of_team(self, team: str) -> dict[str, SpendingLimit]:
        """By scope, those that an experiment of a team draws on."""
        found = {
            "programme": self.programme,
            "team": self.teams.get(team, self.per_team),
            "experiment": self.per_experiment,
        }
        return {scope: limit for scope, limit in found.items() if limit is not None}

    @property
    def longest_s(self) -> int:
        """The longest period; 0: there is no budget."""
        limits = (self.programme, self.per_team, self.per_experiment, *self.teams.values())
        return max((limit.period for limit in limits if limit is not None), default=0)


class PolicyMetadata(Part):
    name: Name
    owner: str = Field(min_length=1)


class PolicySpec(Part):
    """
    default_risk      class of a spec without the label `risk`
    strategies        prices that an objective may name; empty: specs choose by hand
    metrics           scores outside of this list are refused; empty: any is allowed
    rehearsed_within  how long ago the dry-run rollback may lie
    freezes           days on which nothing is raised, in no experiment
    retention         how long traces may stay at most, by the data classes that a variant declares
    """

    risk_classes: dict[str, RiskClass] = Field(min_length=1)
    default_risk: str | None = None
    metrics: dict[str, MetricDefinition] = Field(default_factory=dict)
    strategies: dict[str, Strategy] = Field(default_factory=dict)
    require: tuple[Evidence, ...] = ()
    rehearsed_within: Seconds = 30 * 86_400
    retention: dict[str, Seconds] = Field(default_factory=dict)
    concurrency: Concurrency = Concurrency()
    freezes: tuple[Freeze, ...] = ()
    budgets: Budgets = Budgets()


class Policy(Part):
    """What one organisation asks of its experiments."""

    api_version: Literal["stoploss/v1alpha1"]
    kind: Literal["Policy"]
    metadata: PolicyMetadata
    spec: PolicySpec

    def risk_of(self, labels: dict[str, str]) -> str | None:
        """The name of an experiment's class; None where it names none and there is no default."""
        return labels.get(RISK, self.spec.default_risk)

    def required(self, risk: str) -> tuple[Evidence, ...]:
        """All evidence that a class has to have, each once."""
        return tuple(dict.fromkeys((*self.spec.require, *self.spec.risk_classes[risk].require)))
