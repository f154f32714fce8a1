"""The experiment review, small form: the template's lines first, then what stands behind each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from stoploss.cases.standing import Offline, offline
from stoploss.experiment import Experiment
from stoploss.incidents.facts import OnRecord
from stoploss.lifecycle import WAITING, Lifecycle
from stoploss.review import chain
from stoploss.review.blindness import BlindLine, blindness
from stoploss.review.cells import cells_of
from stoploss.review.chain import CommandLine, FindingLine, RefusedLine, RequestLine
from stoploss.review.guardrails import GuardrailResult, guardrail_results, segment_results
from stoploss.review.recommended import Recommended, recommended
from stoploss.spec.checks import not_enforced_yet
from stoploss.spec.variants import Variant
from stoploss.store.rows import (
    Arm,
    CommandWithAcks,
    ExposuresAfterStop,
    HiddenCell,
    RuleVerdict,
    Status,
    TimelineEntry,
)

UNDECIDED = "undecided"
RAISES = frozenset({"set_exposure"})
OF_PEOPLE = frozenset({"amend", "approve", "reject", "complete", "reviewed", "note"})
"""Requests that are decisions in themselves: they order nothing."""


@dataclass(frozen=True, slots=True)
class VariantLine:
    """What an arm is made of, as declared."""

    name: str
    model: str | None
    prompt: str | None
    routing: str | None
    tools: tuple[str, ...]
    mcp_servers: tuple[str, ...]
    data_classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArmNumbers:
    """A metric in one arm, everybody together; None is no data."""

    n: int | None
    mean: float | None
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric in both arms.

    change     of the treatment's mean against control's; None: an arm has no data
    relative   the change is a share of control's mean; else, where a mean may be 0 or below, it is in `unit`
    guardrail  that watches the metric, with the interval; None: nothing does, so there is no interval
    """

    what: str
    metric: str
    unit: str
    control: ArmNumbers | None
    treatment: ArmNumbers | None
    change: float | None
    relative: bool
    guardrail: GuardrailResult | None


@dataclass(frozen=True, slots=True)
class GateResult:
    """Events of a gate in the run by arm; None: not judged yet."""

    gate: str
    action: str
    n_control: int | None
    n_treatment: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, by the last command that lowered or stopped anything; 'undecided' where none did."""

    decision: str
    why: str
    at: datetime | None
    command_id: str | None


@dataclass(frozen=True, slots=True)
class Review:
    """One run of an experiment, for those who decide what comes next.

    recommended   None: the spec has no objective
    target        the metric that success is told by, its baseline and the least change worth having in its unit
    minimum_cell  traces in an arm below which a segment's numbers are hidden
    blind         when the monitor did not see the run
    not_enforced  what the spec asks for and this version did not act on
    people        what they decided and noted, of all runs: amendments, approvals, completion
    offline       what became of the harm as evaluation cases, and how others did on them
    """

    experiment: str
    owner: str
    hypothesis: str
    control: VariantLine
    treatment: VariantLine
    target: Comparison
    baseline: float | None
    worthwhile: float | None
    guardrails: tuple[GuardrailResult, ...]
    gates: tuple[GateResult, ...]
    results: tuple[Comparison, ...]
    recommended: Recommended | None
    decision: Decision
    lifecycle: str
    run: int
    exposure: float
    changed_at: datetime
    measured_at: datetime | None
    spec_hash: str
    findings: tuple[FindingLine, ...]
    commands: tuple[CommandLine, ...]
    exposures: tuple[ExposuresAfterStop, ...]
    segments: tuple[GuardrailResult, ...]
    stopped_segments: tuple[str, ...]
    minimum_cell: int
    refused: tuple[RefusedLine, ...]
    blind: tuple[BlindLine, ...]
    not_enforced: tuple[str, ...]
    people: tuple[RequestLine, ...]
    offline: Offline = field(default_factory=Offline)


@dataclass(frozen=True, slots=True)
class Rows:
    """What a review is made of, as the store gives it; of every run.

    records  what people put on record
    hidden   cells that measures did not show
    """

    timeline: Sequence[TimelineEntry]
    arms: Sequence[Arm]
    verdicts: Sequence[RuleVerdict]
    commands: Sequence[CommandWithAcks]
    signers: Mapping[str, str]
    exposures: Sequence[ExposuresAfterStop]
    records: Sequence[OnRecord] = ()
    hidden: Sequence[HiddenCell] = ()


def review(experiment: Experiment, status: Status, rows: Rows) -> Review:
    """The review of the last run; of none where the experiment was registered (again) and has not started."""
    run = 0 if status.lifecycle in WAITING else status.run
    cells = cells_of(experiment.spec.privacy.minimum_cell, rows.hidden)
    arms = [arm for arm in rows.arms if arm.run == run and arm.segment_dimension is None]
    verdicts = [verdict for verdict in rows.verdicts if verdict.run == run]
    found = chain.of_run(rows.timeline, run, "finding")
    guardrails = guardrail_results(experiment, verdicts, found)
    findings = chain.findings(rows.timeline, run, cells)
    issued = chain.commands(rows.timeline, run, rows.commands, rows.signers, cells)
    return Review(
        experiment=experiment.name,
        owner=experiment.metadata.owner,
        hypothesis=experiment.spec.hypothesis,
        control=_variant(experiment.control),
        treatment=_variant(experiment.treatment),
        target=compared(experiment, "target", experiment.spec.success.metric, arms, guardrails),
        baseline=experiment.spec.success.baseline,
        worthwhile=experiment.spec.success.worthwhile,
        guardrails=guardrails,
        gates=gate_results(experiment, verdicts),
        results=results(experiment, arms, guardrails),
        recommended=recommended(experiment, verdicts),
        decision=decision(status, issued, findings),
        lifecycle=status.lifecycle,
        run=run,
        exposure=status.exposure,
        changed_at=status.changed_at,
        measured_at=max((arm.at for arm in arms), default=None),
        spec_hash=status.spec_hash,
        findings=findings,
        commands=issued,
        exposures=chain.exposures(rows.exposures, issued),
        segments=segment_results(experiment, verdicts, found, cells),
        stopped_segments=tuple(status.stopped_segments),
        minimum_cell=cells.minimum,
        refused=chain.refused(rows.timeline),
        blind=blindness(rows.timeline, run),
        not_enforced=tuple(not_enforced_yet(experiment)),
        people=tuple(line for line in chain.requests(rows.timeline) if line.action in OF_PEOPLE and line.accepted),
        offline=offline(rows.records, _answered_harm(issued, findings)),
    )


def _answered_harm(issued: Sequence[CommandLine], findings: Sequence[FindingLine]) -> list[str]:
    """Ids of the commands that a breach led to."""
    breaches = {finding.place.journal_entry_id for finding in findings if finding.verdict == "breach"}
    return [command.command_id for command in issued if command.cause in breaches]


def _variant(variant: Variant) -> VariantLine:
    tools = tuple(tool.name for tool in variant.tools)
    return VariantLine(
        variant.name, variant.model, variant.prompt, variant.routing, tools, variant.mcp_servers, variant.data_classes
    )


def results(
    experiment: Experiment, arms: Sequence[Arm], guardrails: Sequence[GuardrailResult]
) -> tuple[Comparison, ...]:
    """Quality (where the spec names its score), cost and latency."""
    objective = experiment.spec.objective
    quality = objective.quality.score if objective and objective.quality else None
    wanted = [("quality", quality), ("cost", "cost_usd"), ("latency", "latency_ms")]
    return tuple(compared(experiment, what, metric, arms, guardrails) for what, metric in wanted if metric)


def compared(
    experiment: Experiment, what: str, metric: str, arms: Sequence[Arm], guardrails: Sequence[GuardrailResult]
) -> Comparison:
    """A metric in both arms, from the newest measures of everybody in one run."""
    declared = experiment.metric(metric)
    control, treatment = (_numbers(arms, metric, variant.name) for variant in experiment.arms)
    return Comparison(
        what=what,
        metric=metric,
        unit=declared.unit,
        control=control,
        treatment=treatment,
        change=_change(control, treatment, declared.positive),
        relative=declared.positive,
        guardrail=next((result for result in guardrails if result.metric == metric), None),
    )


def _numbers(arms: Sequence[Arm], metric: str, variant: str) -> ArmNumbers | None:
    arm = next((arm for arm in arms if (arm.metric, arm.variant) == (metric, variant)), None)
    return ArmNumbers(arm.n, arm.mean, arm.p50, arm.p95) if arm and arm.n else None


def _change(control: ArmNumbers | None, treatment: ArmNumbers | None, relative: bool) -> float | None:
    if control is None or treatment is None or control.mean is None or treatment.mean is None:
        return None
    if relative:
        return treatment.mean / control.mean - 1 if control.mean else None
    return treatment.mean - control.mean


def gate_results(experiment: Experiment, verdicts: Sequence[RuleVerdict]) -> tuple[GateResult, ...]:
    rows = {verdict.metric: verdict for verdict in verdicts if verdict.rule == "gate"}
    return tuple(_gate(choice.gate, choice.action, rows.get(choice.gate)) for choice in experiment.gates)


def _gate(gate: str, action: str, row: RuleVerdict | None) -> GateResult:
    return GateResult(gate, action, row.n_control if row else None, row.n_treatment if row else None)


def decision(status: Status, issued: Sequence[CommandLine], findings: Sequence[FindingLine]) -> Decision:
    """The last command that lowered or stopped something; a start or resume decides nothing."""
    lowered = [command for command in issued if command.action not in RAISES and not command.dry_run]
    if lowered:
        last = lowered[-1]
        return Decision(last.action, last.reason, last.decided_at, last.command_id)
    if status.lifecycle in WAITING:
        return Decision(UNDECIDED, "it has not started", None, None)
    if status.lifecycle == Lifecycle.HOLDING and findings:
        return Decision(UNDECIDED, f"held: {findings[-1].sentence}", findings[-1].at, None)
    return Decision(UNDECIDED, "no rule has called for a command", None, None)
