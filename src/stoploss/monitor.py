"""step(state, entry): one ledger entry in, conclusions and commands out. The whole judge, without clock, chance or I/O.

The state is a fold of the ledger: the same entries give the same state and the same bytes out, on every machine and in
every version with the same rules. Rules are evaluated at each entry and at each tick, so that the points at which they
look are themselves in the ledger. State is updated in place and belongs to the caller.
"""

from __future__ import annotations

import zlib
from typing import assert_never

from stoploss import followup
from stoploss.acks import acked, hear, overdue
from stoploss.after_stop import count_exposures, count_in_stopped_segments, say_exposures
from stoploss.blind import look
from stoploss.canary import canary_of
from stoploss.closing import keep_hours
from stoploss.commands import Action, Micros
from stoploss.counting import count
from stoploss.decisions import command, enter, everything_said, judge
from stoploss.errors import InvalidExperiment
from stoploss.evidence import block_columns
from stoploss.experiment import Experiment
from stoploss.folding import fold, moment_of, settle
from stoploss.governance import effects, freezing
from stoploss.governance.admission import Organisation, exposure_asked, objection
from stoploss.governance.record import Governance
from stoploss.governance.reminders import remind
from stoploss.journal import EvidenceRefused, RequestHandled
from stoploss.lapsing import keep_permission
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
from stoploss.lifecycle import BREAK_GLASS, LATCHED, LIVE, OF_ALL, POLICY, RECORD, WAITING, Lifecycle, refusal
from stoploss.measured import measured
from stoploss.outputs import Output, Outputs
from stoploss.ramping import keep_ramp
from stoploss.rules.rows import Asked, Rows
from stoploss.segments import EVERYBODY
from stoploss.spec.file import parsed
from stoploss.spending import count_spending, say_spending
from stoploss.state import (
    FORGOTTEN_TICKS,
    RECENT_REQUESTS,
    Desired,
    ExperimentState,
    PartitionState,
    RunState,
    SourceState,
)
from stoploss.watching import canary

MEASURE_EVERY_S = 10
SECOND = 1_000_000
SLOW_TICK = 500_000
"""Microseconds of ledger time that a tick is worth while the broker's clock stands behind: half of what it is else."""
PERSON = "person"
SHOWN = ("amend", "approve", "reject", "rehearse", "complete", "reviewed")
"""Requests that change what the registry shows of people's decisions, and order nothing."""


def step(state: PartitionState, entry: Entry, control_topic: str = "stoploss.control") -> list[Output]:
    """Folds one ledger entry of the partition and gives what follows from it, in order.

    Raises MalformedRecord where the entry contradicts itself; the state is then as before.
    """
    fact = entry.fact
    clock = _ledger_time(state, entry)
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


def _ledger_time(state: PartitionState, entry: Entry) -> Micros:
    """It never goes back. While the broker's clock is behind, it goes on by ticks, slowly enough to be caught up with.

    Else nothing that waits for a second to pass would be judged before the broker's clock is where it once was. What is
    behind by less than a second is caught up with by the next tick: stamps of several writers are never quite in order.
    """
    behind = isinstance(entry.fact, Tick) and entry.at <= state.clock - SECOND
    return state.clock + SLOW_TICK if behind else max(state.clock, entry.at)


# ---- evidence ------------------------------------------------------------------------------------


def _evidence(state: PartitionState, experiment: ExperimentState, rows: Rows, out: Outputs) -> None:
    if experiment.lifecycle in WAITING:
        experiment.refused["not started"] = experiment.refused.get("not started", 0) + rows.arm.size
        return
    count_spending(experiment, rows, state.policy.text, out.at)
    if experiment.lifecycle in LATCHED | {Lifecycle.PAUSED}:
        count_exposures(experiment, rows, out)
    if experiment.lifecycle in LATCHED:
        return
    count_in_stopped_segments(experiment, rows, out)
    moment = moment_of(experiment, out.at, state.caught_up, due=(EVERYBODY,))
    fold(experiment, rows, moment)
    if experiment.experiment.spec.ramp.auto_advance:
        experiment.current.pace.meet(rows)
    judge(experiment, moment, out)


# ---- ticks ---------------------------------------------------------------------------------------


def _tick(state: PartitionState, out: Outputs) -> None:
    before, state.measured = state.measured, out.at // SECOND
    _age_sources(state)
    for experiment in state.experiments.values():
        measure = _measures_of(experiment.name, before) != _measures_of(experiment.name, state.measured)
        experiment.cap.advance(out.at)
        experiment.outcome_cap.advance(out.at)
        if experiment.run >= 1:
            _tick_run(state, experiment, measure, out)
            look(state, experiment, out)
            keep_hours(state, experiment, out)
            keep_ramp(state, experiment, out)
            if measure:
                keep_permission(state, experiment, out)
        _say_refused(experiment, out)
        say_spending(experiment, state.policy.text, out)
        if measure:
            remind(experiment, out)


def _measures_of(name: str, second: int) -> int:
    """How many measures are due by a second of ledger time. Not those of all experiments at once: a hundred of them
    take a judge as long as all else that it has to do in a second, and a stop would wait for it."""
    return (second + zlib.crc32(name.encode()) % MEASURE_EVERY_S) // MEASURE_EVERY_S


def _age_sources(state: PartitionState) -> None:
    for name, source in list(state.sources.items()):
        source.ticks += 1
        if source.ticks > FORGOTTEN_TICKS:
            del state.sources[name]


def _tick_run(state: PartitionState, experiment: ExperimentState, measure: bool, out: Outputs) -> None:
    run = experiment.current
    breached, run.breached = run.breached, False
    measure = measure or breached
    moment = moment_of(experiment, out.at, state.caught_up, tuple(run.dimensions), Asked.ALL if measure else Asked.TICK)
    if experiment.lifecycle in LIVE:
        settle(experiment)
        for rule in experiment.rules:
            rule.tick(run.rules[rule.key], moment)
        verdicts = judge(experiment, moment, out)
        if measure and experiment.lifecycle in LIVE:
            out.measure(experiment, measured(experiment, verdicts, out))
    elif experiment.lifecycle not in WAITING:
        say_exposures(experiment, out)
        if breached:
            out.measure(experiment, measured(experiment, everything_said(experiment, moment), out))


def _say_refused(state: ExperimentState, out: Outputs) -> None:
    """Says which rows were not judged, by cause: when a cause is new, and whenever its count has doubled."""
    for cause, rows in state.refused.items():
        if rows >= 2 * state.refused_said.get(cause, 0) and rows > state.refused_said.get(cause, 0):
            state.refused_said[cause] = rows
            out.journal(state, EvidenceRefused(cause, rows))


# ---- requests ------------------------------------------------------------------------------------


def _request(state: PartitionState, request: Request, out: Outputs) -> None:
    if request.action in OF_ALL:
        _of_all(state, request, out)
        return
    experiment = state.experiments.get(request.experiment)
    if experiment is not None and request.request_id in experiment.requests:
        return
    spec, why = _refused(experiment, request, state, out.at)
    if experiment is None:
        if why is not None or spec is None:
            return
        experiment = _registered(state.partition, request, spec)
        state.experiments[request.experiment] = experiment
    experiment.requests = [*experiment.requests, request.request_id][-RECENT_REQUESTS:]
    reason = why or effects.told(experiment, request, spec)
    out.journal(experiment, RequestHandled(request.request_id, request.action, request.by, why is None, reason))
    if why is None:
        run = experiment.run
        _obey(experiment, request, spec, out)
        if experiment.run > run:
            experiment.current.sight.expect(state.sources)
        if effects.settle_lifecycle(experiment, state.policy.text, reason, out) or request.action in SHOWN:
            out.registry(experiment)


def _of_all(state: PartitionState, request: Request, out: Outputs) -> None:
    if request.action == POLICY:
        effects.take_policy(state, request)
    else:
        freezing.take(state, request, out)


def _refused(
    state: ExperimentState | None, request: Request, partition: PartitionState, at: Micros
) -> tuple[Experiment | None, str | None]:
    """The parsed spec of a registration or amendment, and why the request is refused; the judge has the last word."""
    if request.accepted is False:
        return None, request.opinion or "the registrar refused it"
    if why := refusal(request.action, state.lifecycle if state else None, freezes=request.freezes):
        return None, why
    if request.action == RECORD and state is not None:
        return None, _refused_record(state, request)
    if request.action == BREAK_GLASS:
        return None, None
    try:
        spec = parsed(request.spec or "") if request.action in ("register", "amend") else None
    except InvalidExperiment as error:
        return None, str(error)
    return spec, objection(state, request, spec, Organisation(partition.policy.text, partition.freeze), at)


def _refused_record(state: ExperimentState, request: Request) -> str | None:
    """What cannot be read the registrar has refused already, with the field."""
    said = followup.parse(request.body)
    return "its body cannot be read" if isinstance(said, str) else followup.refusal(said, state.incidents)


def _registered(partition: int, request: Request, spec: Experiment) -> ExperimentState:
    text = request.spec or ""
    desired = Desired(release_variant=spec.control.name)
    return ExperimentState(request.experiment, partition, text, spec.spec_hash, desired, RunState.begin(text))


def _obey(state: ExperimentState, request: Request, spec: Experiment | None, out: Outputs) -> None:
    reason = f"{request.action} {state.name!r} asked for by {request.by}" + (
        f": {request.reason}" if request.reason else ""
    )
    match request.action:
        case "register" if effects.changes_nothing(state, request):
            return
        case "register":
            assert spec is not None
            effects.put_in_force(state, request, spec)
            state.governance = Governance.registered(request.by)
            enter(state, Lifecycle.REGISTERED, reason, out)
            out.registry(state)
        case "amend":
            assert spec is not None
            effects.amend(state, request, spec, reason, out)
        case "approve" | "reject" | "complete" | "reviewed" | "note":
            effects.decide(state, request, reason, out)
        case "rehearse":
            effects.rehearse(state, reason, out)
        case "start" | "resume":
            _begin_run(state, request, reason, out)
        case "ramp":
            _ramp(state, request, reason, out)
        case "break_glass":
            _follow_broken_glass(state, request, reason, out)
        case "record":
            _put_on_record(state, request, out)
        case action:
            state.desired.exposure = 0.0
            state.desired.release_variant = state.experiment.spec.rollback.to
            command(state, Action(action), f"{PERSON}/{request.request_id}", 1, reason, out)


def _put_on_record(state: ExperimentState, request: Request, out: Outputs) -> None:
    """The fact itself stands in the ledger; here is kept which incidents are open, and which cases failed last."""
    said = followup.parse(request.body)
    if isinstance(said, str):
        return
    if request.edition is not None:
        followup.fold_cases(said, state.case_sets)
    if followup.fold(said, state.incidents):
        out.registry(state)


def _follow_broken_glass(state: ExperimentState, request: Request, reason: str, out: Outputs) -> None:
    """The controllers have obeyed already; the judge says the same in its own order, unless it has stopped before."""
    effects.glass_broken(state, request, out.at)
    if state.lifecycle in LATCHED:
        out.registry(state)
        return
    state.desired.exposure = 0.0
    state.desired.release_variant = state.experiment.spec.rollback.to
    command(state, Action.STOP, f"{PERSON}/{request.request_id}", 1, reason, out)


def _begin_run(state: ExperimentState, request: Request, reason: str, out: Outputs) -> None:
    """A new run: rules begin anew, whatever had latched before, and nobody has decided on it yet.

    Which units were seen is never forgotten.
    """
    if state.epoch_open:
        state.epoch_open = False
    state.run, state.epoch, state.sequence = state.run + 1, 0, 0
    state.current = RunState.begin(state.spec)
    state.governance.completion = None
    state.desired.stopped_segments = effects.excluded(state, out.at)
    state.desired.exposure = exposure_asked(state, request)
    state.desired.release_variant = state.experiment.control.name
    enter(state, Lifecycle.RUNNING, reason, out)
    command(state, Action.SET_EXPOSURE, f"{PERSON}/{request.request_id}", 1, reason, out, raises=True)


def _ramp(state: ExperimentState, request: Request, reason: str, out: Outputs) -> None:
    """Another share within the run: the rules keep their evidence, and the arms are compared anew."""
    before, state.desired.exposure = state.desired.exposure, exposure_asked(state, request)
    raises = state.desired.exposure > before
    state.current.pace.begin_stage()
    if raises:
        state.current.pace.back_to = None
    else:
        state.current.pace.lowered(state.desired.exposure, f"{request.by} has lowered it")
    command(state, Action.SET_EXPOSURE, f"{PERSON}/{request.request_id}", 1, reason, out, raises=raises)
