"""From verdicts to findings, commands and lifecycle: what changed is said once; only what lowers exposure is done."""

from __future__ import annotations

from dataclasses import replace

from stoploss.awaited import Awaited
from stoploss.commands import Action, Evidence, Micros
from stoploss.folding import moment_of, settle
from stoploss.followup import failing
from stoploss.journal import CommandIssued, EpochOpened, Finding, JournalEntry, LifecycleChanged
from stoploss.lifecycle import AFTER, LATCHED, LIVE, Lifecycle, strengthens
from stoploss.objective_sentences import recommendation_sentence
from stoploss.outputs import Outputs
from stoploss.recommendation import AT_FIRST, Recommendation, recommend, verdict_of
from stoploss.rules import AnyRule, RuleState
from stoploss.rules.cell_looks import look_together
from stoploss.rules.gate import GateEvents
from stoploss.rules.objective import ObjectiveRule, ObjectiveState
from stoploss.rules.rows import TREATMENT, Asked, Moment
from stoploss.rules.verdict import Outcome, Severity, Verdict
from stoploss.sentences import sentence
from stoploss.state import AfterStop, ExperimentState

QUIET = frozenset({Outcome.OK, Outcome.UNDECIDED})
STICKY = (Outcome.BREACH, Outcome.WORSE, Outcome.DIFFERS)


def judge(state: ExperimentState, moment: Moment, out: Outputs) -> list[tuple[AnyRule, Verdict]]:
    """Asks every rule in turn, says what changed and does what follows; gives all verdicts for the plots.

    A rule is asked only while the run is judged: a command of an earlier rule ends that for all later ones.
    """
    asked, said = [], len(out.collected)
    guards = [(rule, state.current.rules[rule.key]) for rule in state.guardrails]
    look_together([rule.looking(own) for rule, own in guards if _is_asked(own, moment)], moment)
    for rule in state.rules:
        if state.lifecycle in LATCHED:
            break
        own = state.current.rules[rule.key]
        if isinstance(rule, ObjectiveRule) or not _is_asked(own, moment):
            continue
        own.news = False
        asked += [(rule, verdict) for verdict in judge_one(state, rule, moment, out)]
    return asked + _recommend(state, moment, news=len(out.collected) > said, out=out)


def _is_asked(own: RuleState, moment: Moment) -> bool:
    return own.news or moment.asked is not Asked.NEWS


def everything_said(state: ExperimentState, moment: Moment) -> list[tuple[AnyRule, Verdict]]:
    """What every rule says of a run that is judged no more: to be shown, not to be obeyed."""
    moment = replace(moment, asked=Asked.PLOT)
    said = [(rule, verdict) for rule in state.rules for verdict in rule.judge(state.current.rules[rule.key], moment)]
    if (rule := _objective(state)) is not None:
        of_objective = [verdict for other, verdict in said if other is rule]
        said.append((rule, verdict_of(_recommendation(state), of_objective)))
    return said


def judge_one(state: ExperimentState, rule: AnyRule, moment: Moment, out: Outputs) -> list[Verdict]:
    """Asks one rule, says what changed and does what follows."""
    verdicts = []
    for verdict in rule.judge(state.current.rules[rule.key], moment):
        verdicts.append(verdict)
        if _changed(state, rule, verdict):
            _say_and_do(state, rule, verdict, out)
    return verdicts


def _changed(state: ExperimentState, rule: AnyRule, verdict: Verdict) -> bool:
    """Whether the verdict is news. A breach is sticky; streams begin quiet, so being quiet is no news."""
    stream = f"{rule.key}/{verdict.stream}"
    before = state.current.verdicts.get(stream)
    now = verdict.outcome + "/" + verdict.reason  # formatting an enum takes three times as long
    if before == now or ((before or "").startswith(STICKY) and not _ends(rule, verdict)):
        return False
    state.current.verdicts[stream] = now
    was_quiet = before is None or before.split("/")[0] in QUIET
    return not (was_quiet and verdict.outcome in QUIET)


def _ends(rule: AnyRule, verdict: Verdict) -> bool:
    """Silence and overdue acks end by themselves: the arm is heard, the command applied. All others want a person."""
    return rule.kind in ("silence", "overdue") and verdict.outcome == Outcome.OK


def _say_and_do(state: ExperimentState, rule: AnyRule, verdict: Verdict, out: Outputs) -> None:
    verdict = replace(verdict, told=verdict.evidence)  # found once, for the words and the finding
    breach = verdict.outcome == Outcome.BREACH
    severity = verdict.response.severity if breach else Severity.INFO
    words = sentence(verdict, state.experiment)
    finding = out.journal(state, Finding(verdict.outcome, verdict.reason, words, severity, verdict.evidence))
    if not breach:
        return
    state.current.breached = True
    act(state, rule, verdict, finding, words, out)
    if verdict.response.hold:
        state.current.sight.held = False
    if verdict.response.hold and state.lifecycle == Lifecycle.RUNNING:
        enter(state, Lifecycle.HOLDING, words, out)
        out.registry(state)


def _recommend(state: ExperimentState, moment: Moment, news: bool, out: Outputs) -> list[tuple[AnyRule, Verdict]]:
    """Judges the objective, and says what is recommended once it changes: at each tick, and when a rule has news."""
    rule = _objective(state)
    if rule is None:
        return []
    own = state.current.rules[rule.key]
    assert isinstance(own, ObjectiveState)
    if not (own.due or news):
        return []
    own.due = False
    for cause, rows in rule.take_refused(own).items():
        state.refused[cause] = state.refused.get(cause, 0) + rows
    said = judge_one(state, rule, moment, out)
    verdict = verdict_of(_recommendation(state), said)
    stream, now = f"{rule.key}/{verdict.stream}", f"{verdict.outcome}/{verdict.reason}"
    before, state.current.verdicts[stream] = state.current.verdicts.get(stream, AT_FIRST), now
    if now != before:
        words, severity = recommendation_sentence(verdict, said), verdict.response.severity
        out.journal(state, Finding(verdict.outcome, verdict.reason, words, severity, verdict.evidence))
        out.registry(state)
    return [(rule, one) for one in (*said, verdict)]


def _recommendation(state: ExperimentState) -> Recommendation:
    return recommend(state.experiment, state.current.verdicts, failing(state.case_sets))


def _objective(state: ExperimentState) -> ObjectiveRule | None:
    return next((rule for rule in state.rules if isinstance(rule, ObjectiveRule)), None)


def act(
    state: ExperimentState, rule: AnyRule, verdict: Verdict, finding: JournalEntry, words: str, out: Outputs
) -> None:
    """Issues the command of a breach, if it still lowers exposure or latches harder than what is in force."""
    action = verdict.response.action
    if action == Action.THROTTLE:
        state.current.pace.lowered(verdict.response.share or 0.0, words)
    if action is None or not _lowers(state, action, verdict):
        return
    if action == Action.THROTTLE:
        state.desired.exposure = verdict.response.share or 0.0
    elif action == Action.STOP_SEGMENT and verdict.evidence.segment is not None:
        state.desired.stopped_segments.append(verdict.evidence.segment)
    elif action in AFTER:
        state.desired.exposure, state.desired.release_variant = 0.0, state.experiment.spec.rollback.to
    reason = f"{action} {state.name!r}: {words}"
    evidence = replace(verdict.evidence, journal_ids=(finding.entry_id,))
    if rule.kind == "gate":
        state.current.after_stop.first_harm_at = first_harm(state, verdict)
    command(state, action, f"{rule.key}/{verdict.stream}", rule.version, reason, out, evidence=evidence)


def _lowers(state: ExperimentState, action: Action, verdict: Verdict) -> bool:
    if not strengthens(action, state.lifecycle):
        return False
    if action == Action.THROTTLE:
        return (verdict.response.share or 0.0) < state.desired.exposure
    if action == Action.STOP_SEGMENT:
        return verdict.evidence.segment not in state.desired.stopped_segments
    return True


def first_harm(state: ExperimentState, verdict: Verdict) -> Micros | None:
    """Event time of the event in the treatment arm that tripped a gate."""
    events = state.current.rules["gate"]
    assert isinstance(events, GateEvents)
    names = [choice.gate for choice in state.experiment.gates]
    return events.first_at[names.index(verdict.stream)][TREATMENT]


def command(
    state: ExperimentState,
    action: Action,
    rule: str,
    version: int,
    reason: str,
    out: Outputs,
    *,
    evidence: Evidence | None = None,
    raises: bool = False,
) -> None:
    """Publishes the desired state, closes the epoch and changes the lifecycle with it."""
    close_epoch(state, out)
    state.epoch += 1
    issued = out.command(state, action, rule, version, reason, evidence, raises)
    state.desired.command_id, state.desired.decided_at = issued.command_id, out.at
    state.desired.awaiting, state.desired.acked = Awaited.of(issued.controllers, state.instances), []
    state.desired.applied_at = state.desired.served_at = None if state.desired.awaiting else out.at
    out.journal(
        state,
        CommandIssued(issued.command_id, action, issued.sequence, issued.release_variant, issued.exposure, reason),
    )
    if action in AFTER:
        enter(state, AFTER[action], reason, out)
        state.current.after_stop = AfterStop(first_harm_at=state.current.after_stop.first_harm_at)
    open_epoch_if_applied(state, out)
    out.registry(state)


def enter(state: ExperimentState, after: Lifecycle, reason: str, out: Outputs) -> None:
    if state.lifecycle != after:
        before, state.lifecycle = state.lifecycle, after
        out.journal(state, LifecycleChanged(before, after, reason))


def close_epoch(state: ExperimentState, out: Outputs) -> None:
    """Arms are compared within an epoch only: what the rules hold of the open one is folded away."""
    if not state.epoch_open:
        return
    settle(state)
    moment = moment_of(state, out.at, caught_up=False, due=())
    for rule in state.rules:
        rule.close_epoch(state.current.rules[rule.key], moment)
    state.epoch_open = False


def open_epoch_if_applied(state: ExperimentState, out: Outputs) -> None:
    """An epoch opens once the command is applied by all who have to, and only while the variant is exposed."""
    live = state.lifecycle in LIVE and state.desired.exposure > 0
    if state.desired.awaiting or state.epoch_open or not live:
        return
    state.epoch_open = True
    out.journal(state, EpochOpened(state.epoch, state.desired.exposure))
