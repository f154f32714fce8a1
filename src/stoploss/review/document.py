"""The experiment review: the template's lines first, then what stands behind each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from stoploss.cases.standing import Offline, offline
from stoploss.checkpoints import Checkpoint
from stoploss.experiment import Experiment
from stoploss.governance.bodies import NoteTerms, body_of
from stoploss.governance.record import Completion
from stoploss.incidents.facts import Asked, recorded
from stoploss.ledger import JudgeVersion
from stoploss.lifecycle import WAITING
from stoploss.policy.model import Policy
from stoploss.registry import RegistryEntry
from stoploss.review import chain, drawn, owed
from stoploss.review.beside import InteractionLine, interactions
from stoploss.review.blindness import BlindLine, blindness
from stoploss.review.cells import cells_of
from stoploss.review.chain import CommandLine, EpochLine, FindingLine, RefusedLine, RequestLine
from stoploss.review.comparison import Comparison, compared, results
from stoploss.review.decided import Decision, decision
from stoploss.review.drawn import Drawings
from stoploss.review.fourfold import Fourfold, fourfold
from stoploss.review.guardrails import GuardrailResult, guardrail_results, segment_results
from stoploss.review.owed import Owed
from stoploss.review.pace import Pace, pace
from stoploss.review.pictures import Points, marks_of, over_time
from stoploss.review.preregistered import Preregistered, preregistered
from stoploss.review.promise import Kept, kept
from stoploss.review.recommended import Recommended, recommended
from stoploss.review.reproduction import Reproduction, reproduction
from stoploss.review.samples import Samples
from stoploss.review.unknown import Seen, unknown
from stoploss.review.variant_lines import VariantLine, variant_line
from stoploss.review.watched import WatchLine, watched
from stoploss.review.words import moment
from stoploss.spec.checks import not_enforced_yet
from stoploss.store.review_reads import InProduction, StartToDecision
from stoploss.store.rows import (
    Arm,
    CommandWithAcks,
    ExposuresAfterStop,
    HiddenCell,
    RuleVerdict,
    Status,
    TimelineEntry,
)

OF_PEOPLE = frozenset({"amend", "approve", "reject", "complete", "reviewed", "note"})
"""Requests that are decisions in themselves: they order nothing."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """Events of a gate in the run by arm; None: not judged yet."""

    gate: str
    action: str
    n_control: int | None
    n_treatment: int | None


@dataclass(frozen=True, slots=True)
class Lesson:
    at: datetime
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Review:
    """One run of an experiment, for those who decide what comes next.

    made_at       when it was read; what is overdue is so by this day
    recommended   None: the spec has no objective
    target        the metric that success is told by, its baseline and the least change worth having in its unit
    minimum_cell  traces in an arm below which a segment's numbers are hidden
    overlaps      experiments that may run on the same traffic, as declared
    interactions  how the effect differs between the variants of others
    not_enforced  what the spec asks for and this version did not act on
    people        what they decided and noted, of all runs: amendments, approvals, completion
    offline       what became of the harm as evaluation cases, and how others did on them
    evidence      the four kinds that a rollout rests on
    watched       the split of traffic, drift, budgets, sight: what each rule last said
    production    the treatment since its rollout, beside what the experiment showed; empty: it was not rolled out
    unknown       what no number here says anything about
    """

    experiment: str
    owner: str
    made_at: datetime
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
    preregistered: Preregistered
    evidence: Fourfold
    epochs: tuple[EpochLine, ...]
    findings: tuple[FindingLine, ...]
    commands: tuple[CommandLine, ...]
    exposures: tuple[ExposuresAfterStop, ...]
    segments: tuple[GuardrailResult, ...]
    stopped_segments: tuple[str, ...]
    minimum_cell: int
    overlaps: tuple[str, ...]
    interactions: tuple[InteractionLine, ...]
    watched: tuple[WatchLine, ...]
    not_enforced: tuple[str, ...]
    people: tuple[RequestLine, ...]
    offline: Offline
    owed: Owed
    production: tuple[Kept, ...]
    pace: Pace
    samples: Samples
    unknown: tuple[str, ...]
    lessons: tuple[Lesson, ...]
    reproduction: Reproduction
    drawings: Drawings


@dataclass(frozen=True, slots=True)
class Rows:
    """What a review is made of, as the store gives it; of every run, but for the points, which are of the last.

    read_at     when it was read
    asked       the requests that were accepted, in order
    entry       the registry's last word; None: not stored
    versions    who judged the ledger partition, by offset
    programme   of every experiment
    production  what the treatment did since a rollout was decided
    hidden      cells that measures did not show
    policy      the one in force; None: none is
    """

    timeline: Sequence[TimelineEntry]
    arms: Sequence[Arm]
    verdicts: Sequence[RuleVerdict]
    commands: Sequence[CommandWithAcks]
    signers: Mapping[str, str]
    exposures: Sequence[ExposuresAfterStop]
    read_at: datetime
    asked: Sequence[Asked] = ()
    entry: RegistryEntry | None = None
    points: Points = field(default_factory=Points)
    versions: Sequence[tuple[int, JudgeVersion]] = ()
    signed: Checkpoint | None = None
    programme: Sequence[StartToDecision] = ()
    production: Sequence[InProduction] = ()
    samples: Samples = field(default_factory=Samples)
    hidden: Sequence[HiddenCell] = ()
    policy: Policy | None = None


def review(experiment: Experiment, status: Status, rows: Rows) -> Review:
    """The review of the last run; of none where the experiment was registered (again) and has not started.

    Raises InvalidExperiment where this version cannot read the spec that was registered.
    """
    told = _Told.of(experiment, status, rows)
    return Review(
        experiment=experiment.name,
        owner=experiment.metadata.owner,
        made_at=rows.read_at,
        hypothesis=experiment.spec.hypothesis,
        control=variant_line(experiment.control),
        treatment=variant_line(experiment.treatment),
        target=told.compared[0],
        baseline=experiment.spec.success.baseline,
        worthwhile=experiment.spec.success.worthwhile,
        guardrails=told.guardrails,
        gates=gate_results(experiment, told.verdicts),
        results=told.compared[1:],
        recommended=told.recommended,
        decision=decision(status, told.commands, told.findings, told.completion),
        lifecycle=status.lifecycle,
        run=told.run,
        exposure=status.exposure,
        changed_at=status.changed_at,
        measured_at=told.measured_at,
        spec_hash=status.spec_hash,
        preregistered=preregistered(experiment, rows.asked, rows.entry),
        evidence=told.evidence(experiment),
        epochs=told.epochs,
        findings=told.findings,
        commands=told.commands,
        exposures=chain.exposures(rows.exposures, told.commands),
        segments=told.segments,
        stopped_segments=tuple(status.stopped_segments),
        minimum_cell=experiment.spec.privacy.minimum_cell,
        overlaps=experiment.spec.overlaps,
        interactions=interactions(experiment, told.verdicts),
        watched=told.watched,
        not_enforced=tuple(not_enforced_yet(experiment, rows.policy)),
        people=tuple(line for line in chain.requests(rows.timeline) if line.action in OF_PEOPLE and line.accepted),
        offline=told.offline,
        owed=owed.owed(experiment, status.lifecycle, rows.asked, rows.entry, rows.read_at.date()),
        production=kept(told.compared, rows.production) if rows.production else (),
        pace=pace(experiment.name, rows.programme),
        samples=rows.samples,
        unknown=unknown(told.seen(experiment)),
        lessons=_lessons(rows),
        reproduction=told.reproduction(status, rows),
        drawings=told.drawings(experiment, rows.points),
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """What the store has of the run that is reviewed."""

    run: int
    arms: list[Arm]
    verdicts: list[RuleVerdict]
    guardrails: tuple[GuardrailResult, ...]
    segments: tuple[GuardrailResult, ...]
    recommended: Recommended | None
    compared: tuple[Comparison, ...]
    watched: tuple[WatchLine, ...]
    offline: Offline
    completion: Completion | None
    epochs: tuple[EpochLine, ...]
    findings: tuple[FindingLine, ...]
    commands: tuple[CommandLine, ...]
    refused: tuple[RefusedLine, ...]
    blind: tuple[BlindLine, ...]

    @classmethod
    def of(cls, experiment: Experiment, status: Status, rows: Rows) -> _Told:
        run = 0 if status.lifecycle in WAITING else status.run
        cells = cells_of(experiment.spec.privacy.minimum_cell, rows.hidden)
        verdicts = [verdict for verdict in rows.verdicts if verdict.run == run]
        arms = [arm for arm in rows.arms if arm.run == run and arm.segment_dimension is None]
        found = chain.of_run(rows.timeline, run, "finding")
        guardrails = guardrail_results(experiment, verdicts, found)
        findings = chain.findings(rows.timeline, run, cells)
        commands = chain.commands(rows.timeline, run, rows.commands, rows.signers, cells)
        return cls(
            run=run,
            arms=arms,
            verdicts=verdicts,
            guardrails=guardrails,
            segments=segment_results(experiment, verdicts, found, cells),
            recommended=recommended(experiment, verdicts),
            compared=tuple(_compared(experiment, arms, guardrails)),
            watched=watched(experiment, verdicts, findings),
            offline=offline(recorded(rows.asked), _answered_harm(commands, findings)),
            completion=rows.entry.completion if rows.entry else None,
            epochs=chain.epochs(rows.timeline, run),
            findings=findings,
            commands=commands,
            refused=chain.refused(rows.timeline),
            blind=blindness(rows.timeline, run),
        )

    @property
    def measured_at(self) -> datetime | None:
        return max((arm.at for arm in self.arms), default=None)

    def seen(self, experiment: Experiment) -> Seen:
        return Seen(
            experiment,
            self.arms,
            self.guardrails,
            self.segments,
            self.recommended,
            self.commands,
            self.refused,
            self.blind,
        )

    def evidence(self, experiment: Experiment) -> Fourfold:
        said = (self.recommended, self.guardrails, self.segments, self.watched)
        return fourfold(experiment, self.offline, *said)

    def reproduction(self, status: Status, rows: Rows) -> Reproduction:
        of_run = [entry for entry in rows.timeline if entry.run == self.run]
        ledger = (status.spec_hash, status.ledger_partition)
        return reproduction(status.experiment, *ledger, of_run, rows.versions, rows.signed)

    def drawings(self, experiment: Experiment, points: Points) -> Drawings:
        marks = tuple(marks_of(self.epochs, self.commands))
        return Drawings(
            exposure=drawn.exposure(self.commands, self.measured_at, marks),
            over_time=over_time(experiment, self.guardrails, points, marks),
            burn_downs=tuple(drawn.burn_downs(experiment, points.arms, marks)),
            forests=tuple(drawn.forests(self.guardrails, self.segments)),
            curves=tuple(drawn.curves(self.recommended)),
        )


def _compared(
    experiment: Experiment, arms: Sequence[Arm], guardrails: Sequence[GuardrailResult]
) -> Iterator[Comparison]:
    """The target first."""
    yield compared(experiment, "target", experiment.spec.success.metric, arms, guardrails)
    yield from results(experiment, arms, guardrails)


def _answered_harm(issued: Sequence[CommandLine], findings: Sequence[FindingLine]) -> list[str]:
    """Ids of the commands that a breach led to."""
    breaches = {finding.place.journal_entry_id for finding in findings if finding.verdict == "breach"}
    return [command.command_id for command in issued if command.cause in breaches]


def _lessons(rows: Rows) -> tuple[Lesson, ...]:
    """What people said was learned: in notes, and when they decided."""
    notes = [one for one in rows.asked if one.request.action == "note"]
    of_kind = [one for one in notes if body_of(NoteTerms, one.request.body).kind == "lesson"]
    noted = [Lesson(one.at, one.request.by, one.request.reason) for one in of_kind]
    completion = rows.entry.completion if rows.entry else None
    last = [Lesson(moment(completion.at), completion.by, completion.lesson)] if completion and completion.lesson else []
    return (*noted, *last)


def gate_results(experiment: Experiment, verdicts: Sequence[RuleVerdict]) -> tuple[GateResult, ...]:
    rows = {verdict.metric: verdict for verdict in verdicts if verdict.rule == "gate"}
    return tuple(_gate(choice.gate, choice.action, rows.get(choice.gate)) for choice in experiment.gates)


def _gate(gate: str, action: str, row: RuleVerdict | None) -> GateResult:
    return GateResult(gate, action, row.n_control if row else None, row.n_treatment if row else None)
