"""An experiment as intake needs it: which columns to project, which names are declared. Made once per spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stoploss import metrics
from stoploss.experiment import Experiment
from stoploss.intake.pii import PiiWatch
from stoploss.intake.quantise import unit_of
from stoploss.metrics import UNDECLARED_SERVING, Metric, Transform, column_name
from stoploss.registry import RegistryEntry
from stoploss.spec.file import parse_experiment
from stoploss.spec.variants import Variant

ALWAYS_MEASURED = ("latency_ms", "error_rate", "cost_usd", "output_tokens")


@dataclass(frozen=True, slots=True)
class MetricPlan:
    """A metric column of the experiment's blocks."""

    column: str
    metric: Metric
    transform: Transform
    unit: str

    @property
    def is_score(self) -> bool:
        return self.metric.name not in metrics.METRICS


@dataclass(frozen=True, slots=True)
class Arm:
    """What one variant declares: anything outside trips a gate, or, for what serves it, is not compared.

    serving  what a trace must show, by its column
    """

    name: str
    tools: frozenset[str]
    scopes: frozenset[str]
    side_effects: frozenset[str]
    mcp_servers: frozenset[str]
    pii: PiiWatch
    serving: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Watched:
    """An experiment that the registry knows, with its projection plan; arms[code] is the variant of evidence rows.

    stranger  what holds for a variant that the spec does not declare
    """

    experiment: Experiment
    spec_hash: str
    partition: int
    arms: tuple[Arm, Arm]
    stranger: Arm
    metrics: tuple[MetricPlan, ...]
    segments: tuple[str, ...]
    gates: tuple[str, ...]

    @classmethod
    def of(cls, experiment: Experiment, partition: int, spec_hash: str | None = None) -> Watched:
        control, treatment = experiment.arms
        choices = {str(name): str(choice) for name, choice in experiment.spec.privacy.pii.items()}
        return cls(
            experiment=experiment,
            spec_hash=spec_hash or experiment.spec_hash,
            partition=partition,
            arms=(_arm(control, choices), _arm(treatment, choices)),
            stranger=_stranger(choices),
            metrics=tuple(_plans(experiment)),
            segments=experiment.dimensions,
            gates=tuple(choice.gate for choice in experiment.gates),
        )

    @classmethod
    def from_entry(cls, entry: RegistryEntry) -> Watched:
        """Raises InvalidExperiment where this version cannot read the registry's spec."""
        return cls.of(
            parse_experiment(entry.spec, f"the registry's spec of {entry.experiment}"), entry.partition, entry.spec_hash
        )

    @property
    def name(self) -> str:
        return self.experiment.name


def _arm(variant: Variant, choices: Mapping[str, str]) -> Arm:
    tools = frozenset(tool.name for tool in variant.tools)
    pii = PiiWatch.of(variant.data_classes, choices)
    servers = frozenset(variant.mcp_servers)
    return Arm(variant.name, tools, variant.scopes, variant.side_effects, servers, pii, variant.serving)


def _stranger(choices: Mapping[str, str]) -> Arm:
    nothing: frozenset[str] = frozenset()
    return Arm("", nothing, nothing, nothing, nothing, PiiWatch.of((), choices), {})


def _plans(experiment: Experiment) -> Iterator[MetricPlan]:
    for name, transform in dict.fromkeys(_named(experiment)):
        metric = experiment.metric(name)
        yield MetricPlan(column_name(name, transform), metric, transform, unit_of(metric, transform))


def _named(experiment: Experiment) -> Iterator[tuple[str, Transform]]:
    """Every metric that the spec names; beside a logarithm the metric itself, which people plot."""
    spec = experiment.spec
    names = [*ALWAYS_MEASURED, *(guardrail.metric for guardrail in spec.guardrails)]
    names += [watch.metric for watch in spec.drift if watch.metric] + [budget.watched for budget in spec.budgets]
    names += [UNDECLARED_SERVING] if experiment.serving else []
    names += [*(spec.objective.risk_columns if spec.objective else ()), *spec.health.scores]
    for name in (*names, spec.success.metric, *experiment.declared_scores):
        yield name, "none"
    for guardrail in spec.guardrails:
        yield guardrail.metric, guardrail.projected
