"""step(state, entry): one ledger entry in, conclusions and commands out. The whole judge, without clock, chance or I/O.

The state is a fold of the ledger: the same entries give the same state and the same bytes out, on every machine and in
every version with the same rules. Rules are evaluated at each entry and at each tick, so that the points at which they
look are themselves in the ledger. State is updated in place and belongs to the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from stoploss.acks import acked, hear, overdue
from stoploss.after_stop import count_exposures, say_exposures
from stoploss.blind import look
from stoploss.canary import canary_of
from stoploss.commands import Action
from stoploss.counting import count
from stoploss.decisions import command, enter, judge
from stoploss.errors import InvalidExperiment
from stoploss.evidence import block_columns
from stoploss.experiment import Experiment
from stoploss.folding import fold, moment_of, settle
from stoploss.journal import EvidenceRefused, RequestHandled
from stoploss.ledger import (
    AckOverdue,
    AckReceived,
    AssignmentsCounted,
    Entry,
    EvidenceBlock,
    JudgeVersion,
    Request,
    SourceStatus,
    Tick,
)
from stoploss.lifecycle import LATCHED, LIVE, Lifecycle, refusal
from stoploss.measures import Measure, VerdictMeasure
from stoploss.metrics import column_name, scale_of
from stoploss.outputs import Output, Outputs
from stoploss.rules import AnyRule
from stoploss.rules.rows import Moment, Rows
from stoploss.rules.verdict import Verdict
from stoploss.segments import EVERYBODY
from stoploss.sentences import missing
from stoploss.state import RECENT_REQUESTS, Desired, ExperimentState, PartitionState, RunState, SourceState, parsed
from stoploss.watching import canary

MEASURE_EVERY = 10_000_000
PERSON = "person"


def step(state: PartitionState, entry: Entry, control_topic: str = "stoploss.control") -> list[Output]:
    """Folds one ledger entry of the partition and gives what follows from it, in order.

    Raises MalformedRecord where the entry contradicts itself; the state is then as before.
    """
    fact = entry.fact
    clock = max(state.clock, entry.at)
    out = Outputs(state.partition, entry.offset, clock, control_topic)
    columns = block_columns(fact) if isinstance(fact, EvidenceBlock) else None
    state.clock, state.offset = clock, entry.offset
    match fact:
        case EvidenceBlock():
            assert columns is not None
            if fact.experiment == canary_of(state.partition):
                canary(state, fact, columns, out)
            experiment = state.experiments.get(fact.experiment)
            if experiment and (rows := count(experiment, fact, columns)):
                _evidence(state, experiment, rows, out)
        case Request():
            _request(state, fact, out)
        case AckReceived():
            if experiment := state.experiments.get(fact.experiment):
                acked(experiment, fact, out)
        case AckOverdue():
            if experiment := state.experiments.get(fact.experiment):
                overdue(experiment, fact, out)
        case SourceStatus():
            state.sources[f"{fact.source.topic}/{fact.source.partition}"] = SourceState(fact.lag)
            for experiment in state.experiments.values():
                experiment.current.sight.hear_status(fact, state.canary_topic)
                hear(experiment, fact, out)
        case AssignmentsCounted():
            if experiment := state.experiments.get(fact.experiment):
                experiment.current.sight.hear_counts(fact)
        case Tick():
            _tick(state, out)
        case JudgeVersion():
            state.version = fact.text
        case _:
            assert_never(fact)
    return out.collected


# ---- evidence ------------------------------------------------------------------------------------


def _evidence(state: PartitionState, experiment: ExperimentState, rows: Rows, out: Outputs) -> None:
    if experiment.lifecycle == Lifecycle.REGISTERED:
        experiment.refused["not started"] = experiment.refused.get("not started", 0) + rows.arm.size
        return
    if experiment.lifecycle in LATCHED | {Lifecycle.PAUSED}:
        count_exposures(experiment, rows, out)
    if experiment.lifecycle in LATCHED:
        return
    moment = moment_of(experiment, out.at, state.caught_up, due=(EVERYBODY,))
    fold(experiment, rows, moment)
    said = len(out.collected)
    verdicts = judge(experiment, moment, out)
    if len(out.collected) > said:
        _measure(experiment, verdicts, moment, out)


# ---- ticks ---------------------------------------------------------------------------------------


def _tick(state: PartitionState, out: Outputs) -> None:
    measure, state.measured = out.at // MEASURE_EVERY != state.measured, out.at // MEASURE_EVERY
    for source in state.sources.values():
        source.ticks += 1
    for experiment in state.experiments.values():
        experiment.cap.advance(out.at)
        experiment.outcome_cap.advance(out.at)
        if experiment.run >= 1:
            _tick_run(state, experiment, measure, out)
            look(state, experiment, out)
        _say_refused(experiment, out)


def _tick_run(state: PartitionState, experiment: ExperimentState, measure: bool, out: Outputs) -> None:
    if experiment.lifecycle in LIVE:
        settle(experiment)
        due = tuple(experiment.current.dimensions)
        moment = moment_of(experiment, out.at, state.caught_up, due, whole=True)
        for rule in experiment.rules:
            rule.tick(experiment.current.rules[rule.key], moment)
        said = len(out.collected)
        verdicts = judge(experiment, moment, out)
        if measure or len(out.collected) > said:
            _measure(experiment, verdicts, moment, out)
    elif experiment.lifecycle != Lifecycle.REGISTERED:
        say_exposures(experiment, out)


def _say_refused(state: ExperimentState, out: Outputs) -> None:
    """Says which rows were not judged, by cause: when a cause is new, and whenever its count has doubled."""
    for cause, rows in state.refused.items():
        if rows >= 2 * state.refused_said.get(cause, 0) and rows > state.refused_said.get(cause, 0):
            state.refused_said[cause] = rows
            out.journal(state, EvidenceRefused(cause, rows))


# ---- requests ------------------------------------------------------------------------------------


def _request(state: PartitionState, request: Request, out: Outputs) -> None:
    experiment = state.experiments.get(request.experiment)
    if experiment is not None and request.request_id in experiment.requests:
        return
    spec, why = _refused(experiment, request)
    if experiment is None:
        if why is not None or spec is None:
            return
        experiment = _registered(state.partition, request, spec)
        state.experiments[request.experiment] = experiment
    experiment.requests = [*experiment.requests, request.request_id][-RECENT_REQUESTS:]
    reason = why or request.reason or "as asked"
    out.journal(experiment, RequestHandled(request.request_id, request.action, request.by, why is None, reason))
    if why is None:
        _obey(experiment, request, spec, out)


def _refused(state: ExperimentState | None, request: Request) -> tuple[Experiment | None, str | None]:
    """The parsed spec of a registration, and why the request is refused; the judge has the last word."""
    if request.accepted is False:
        return None, request.opinion or "the registrar refused it"
    if why := refusal(request.action, state.lifecycle if state else None):
        return None, why
    if request.action != "register":
        return None, None
    try:
        return parsed(request.spec or ""), None
    except InvalidExperiment as error:
        return None, str(error)


def _registered(partition: int, request: Request, spec: Experiment) -> ExperimentState:
    text = request.spec or ""
    desired = Desired(release_variant=spec.control.name)
    return ExperimentState(request.experiment, partition, text, spec.spec_hash, desired, RunState.begin(text))


def _obey(state: ExperimentState, request: Request, spec: Experiment | None, out: Outputs) -> None:
    reason = f"{request.action} {state.name!r} asked for by {request.by}" + (
        f": {request.reason}" if request.reason else ""
    )
    match request.action:
        case "register":
            assert spec is not None
            state.spec, state.spec_hash = request.spec or "", spec.spec_hash
            state.desired = Desired(release_variant=spec.control.name)
            state.current = RunState.begin(state.spec)
            enter(state, Lifecycle.REGISTERED, reason, out)
            out.registry(state)
        case "start" | "resume":
            _begin_run(state, request, reason, out)
        case "break_glass":
            _follow_broken_glass(state, request, reason, out)
        case action:
            state.desired.exposure = 0.0
            state.desired.release_variant = state.experiment.spec.rollback.to
            command(state, Action(action), f"{PERSON}/{request.request_id}", 1, reason, out)


def _follow_broken_glass(state: ExperimentState, request: Request, reason: str, out: Outputs) -> None:
    """The controllers have obeyed already; the judge says the same in its own order, unless it has stopped before."""
    if state.lifecycle in LATCHED:
        return
    state.desired.exposure = 0.0
    state.desired.release_variant = state.experiment.spec.rollback.to
    command(state, Action.STOP, f"{PERSON}/{request.request_id}", 1, reason, out)


def _begin_run(state: ExperimentState, request: Request, reason: str, out: Outputs) -> None:
    """A new run: rules begin anew, whatever had latched before. Which units were seen is never forgotten."""
    stages = state.experiment.spec.ramp.stages
    if state.epoch_open:
        state.epoch_open = False
    state.run, state.epoch, state.sequence = state.run + 1, 0, 0
    state.current = RunState.begin(state.spec)
    state.desired.stopped_segments = []
    state.desired.exposure = request.exposure if request.exposure is not None else stages[0]
    state.desired.release_variant = state.experiment.control.name
    enter(state, Lifecycle.RUNNING, reason, out)
    command(state, Action.SET_EXPOSURE, f"{PERSON}/{request.request_id}", 1, reason, out, raises=True)


# ---- measures ------------------------------------------------------------------------------------


def _measure(state: ExperimentState, verdicts: list[tuple[AnyRule, Verdict]], moment: Moment, out: Outputs) -> None:
    """What people plot: the arms, what was judged, and what the rules say of the rest, which an entry does not ask."""
    settle(state)
    experiment = state.experiment
    names = (experiment.control.name, experiment.treatment.name)
    scales = {column: _scale(experiment, column) for column in state.current.metrics.cells}
    arms = state.current.metrics.arms(names, state.current.dimensions, scales)
    if not moment.whole or state.lifecycle in LATCHED:
        verdicts = [*verdicts, *_not_asked(state, verdicts, moment)]
    spoken = tuple(_verdict_measure(rule, verdict) for rule, verdict in verdicts)
    measure = Measure(state.name, state.run, state.epoch, out.at, state.partition, out.offset, arms, spoken)
    out.measure(state, measure)


def _not_asked(
    state: ExperimentState, verdicts: list[tuple[AnyRule, Verdict]], moment: Moment
) -> Iterator[tuple[AnyRule, Verdict]]:
    """Segments between two ticks, and the rules behind the one that stopped the run. To be plotted, not obeyed."""
    asked = {(rule.key, verdict.stream) for rule, verdict in verdicts}
    everything = replace(moment, due=tuple(moment.dimensions), whole=True)
    for rule in state.rules:
        for verdict in rule.judge(state.current.rules[rule.key], everything):
            if (rule.key, verdict.stream) not in asked:
                yield rule, verdict


def _scale(experiment: Experiment, column: str) -> int:
    name, _, transform = column.partition(":")
    metric = experiment.metric(name)
    return scale_of(metric, "log" if column == column_name(name, "log") else "none") if transform else metric.scale


def _verdict_measure(rule: AnyRule, verdict: Verdict) -> VerdictMeasure:
    evidence = verdict.evidence
    return VerdictMeasure(
        rule=rule.key,
        metric=evidence.metric,
        segment=evidence.segment,
        verdict=verdict.outcome,
        reason=verdict.reason,
        observed=evidence.observed,
        bound=evidence.bound,
        estimate=evidence.estimate,
        lower=evidence.lower,
        upper=evidence.upper,
        margin=evidence.margin,
        n_control=evidence.n_control,
        n_treatment=evidence.n_treatment,
        missing=missing(verdict, evidence),
    )
