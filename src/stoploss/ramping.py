"""The ramp that people approved beforehand: from stage to stage, inside its windows, while nothing speaks against it.

A stage is passed once it was watched for its minimum time, enough units met the treatment, and every guardrail has come
to a verdict. Where one of these is missing the stage is extended, up to a limit; then it is held or reverted. Whatever
else is in the way (a finding, an incident, blindness, closed windows, people's decisions) is waited for. Each stage
begins its own count, so nothing is skipped, and after an outage at most one stage is passed.
"""

from __future__ import annotations

from collections.abc import Iterator

from stoploss.commands import Action, Evidence
from stoploss.decisions import command
from stoploss.experiment import Ramp, StageMinimum
from stoploss.governance import hours
from stoploss.governance.admission import in_the_way
from stoploss.journal import Finding, JournalEntry
from stoploss.lifecycle import Lifecycle
from stoploss.outputs import Outputs
from stoploss.pace import STAGE
from stoploss.policy.file import policy_in_force
from stoploss.policy.model import Policy
from stoploss.rules.verdict import Outcome, Reason, Severity
from stoploss.spec.base import duration_text
from stoploss.state import ExperimentState, PartitionState

RULE, VERSION = "ramp", 1
PASSED, EXTENDED, WAITS, HELD, REVERTED = (
    f"{STAGE}passed",
    f"{STAGE}extended",
    f"{STAGE}waits",
    f"{STAGE}held",
    f"{STAGE}reverted",
)
WATCHED, OVER = "watched", "watch_over"
A_PERSON = "a person decides with `stoploss ramp`"
SECOND = 1_000_000
AGAINST = (Outcome.BREACH, Outcome.WORSE, Outcome.ROLLBACK)
NOT_JUDGED = (f"{Outcome.UNDECIDED}/{Reason.BELOW_FLOOR}", f"{Outcome.UNDECIDED}/{Reason.NO_CONTRAST}")


def keep_ramp(partition: PartitionState, state: ExperimentState, out: Outputs) -> None:
    """Once a tick for every run."""
    pace, ramp = state.current.pace, state.experiment.spec.ramp
    passed = pace.tick(out.at)
    if not _is_watched(state):
        return
    pace.watched += passed
    higher = next((stage for stage in ramp.shares if stage > state.desired.exposure), None)
    if ramp.auto_advance and higher is not None and state.lifecycle == Lifecycle.RUNNING:
        if pace.held:
            _stand(state, HELD, f"the ramp is held: {pace.held}; {A_PERSON}", Severity.INFO, out)
        else:
            _judge_stage(partition, state, ramp, higher, out)
    elif ramp.watch is not None and state.desired.exposure >= 1:
        _keep_watching(state, ramp.watch, out)


def _is_watched(state: ExperimentState) -> bool:
    """The treatment has the share of its stage, everybody has applied it, and the monitor sees."""
    run = state.current
    served = state.lifecycle in (Lifecycle.RUNNING, Lifecycle.ADOPTED) and state.epoch_open
    return served and run.pace.back_to is None and run.sight.since is None


def _judge_stage(partition: PartitionState, state: ExperimentState, ramp: Ramp, higher: float, out: Outputs) -> None:
    least = ramp.at(state.desired.exposure)
    if state.current.pace.watched < least.duration_s * SECOND:
        return
    if finding := next(_findings(state), None):
        _wait(state, "finding", finding, out)
    elif lack := next(_lacking(state, ramp, least), None):
        _extend(state, ramp, least, *lack, out)
    else:
        policy = policy_in_force(partition.policy.text) if partition.policy.text else None
        kind, obstacle = next(_obstacles(partition, state, higher, policy, out), ("", ""))
        if obstacle:
            _wait(state, kind, obstacle, out)
        else:
            _advance(state, higher, out)


def _extend(state: ExperimentState, ramp: Ramp, least: StageMinimum, kind: str, lack: str, out: Outputs) -> None:
    left = least.duration_s + least.extension_s - state.current.pace.watched // SECOND
    if left > 0:
        words = f"{_stage(state)} is extended: {lack}; it goes on for up to {duration_text(left)} more"
        _stand(state, f"{EXTENDED}/{kind}", words, Severity.INFO, out)
    else:
        _give_up(state, ramp, lack, out)


def _stage(state: ExperimentState) -> str:
    return f"the stage of {state.desired.exposure:g}"


# ---- what a stage has to have ------------------------------------------------------------------------


def _findings(state: ExperimentState) -> Iterator[str]:
    """What speaks against the treatment; only a person goes on over it."""
    for stream, said in state.current.verdicts.items():
        if said.startswith(AGAINST):
            yield f"{stream} says {said.replace('/', ', ')}"


def _lacking(state: ExperimentState, ramp: Ramp, least: StageMinimum) -> Iterator[tuple[str, str]]:
    """What time brings, as (kind, words): units, and verdicts of the guardrails over everybody."""
    units = state.current.pace.units
    if units < least.units:
        yield "units", f"{units:,} of {least.units:,} units have met the treatment"
    for rule in state.rules:
        if rule.kind == "guardrail":
            said = state.current.verdicts.get(f"{rule.key}/everybody", NOT_JUDGED[0])
            if said in NOT_JUDGED:
                yield "verdict", f"{rule.key} has no verdict yet ({said.partition('/')[2]})"
            elif ramp.until == "safe" and not said.startswith(Outcome.SAFE):
                yield "safety", f"{rule.key} has not shown that the treatment is within its margin"


def _obstacles(
    partition: PartitionState, state: ExperimentState, higher: float, policy: Policy | None, out: Outputs
) -> Iterator[tuple[str, str]]:
    """What is waited for without a limit, as (kind, words)."""
    if state.incidents:
        yield "incident", f"an incident is open: {state.incidents[0].command_id}"
    if not partition.caught_up:
        yield "behind", "not all traces that were sent are judged yet"
    if not hours.are_declared(policy, state.experiment):
        yield "hours", "no windows say when exposure may be raised without a person; declare windows, or ramp by hand"
    yield from (("people", why) for why in in_the_way(state, higher, policy, out.at))


# ---- what follows ------------------------------------------------------------------------------------


def _advance(state: ExperimentState, higher: float, out: Outputs) -> None:
    pace = state.current.pace
    words = f"{_stage(state)} is passed: {pace.units:,} units in {duration_text(pace.watched // SECOND)}, and nothing "
    words += f"speaks against it; exposure goes to {higher:g}"
    evidence = _evidence(state, _say(state, PASSED, words, Severity.INFO, out))
    pace.begin_stage()
    state.desired.exposure = higher
    _order(state, Action.SET_EXPOSURE, words, evidence, out)


def _give_up(state: ExperimentState, ramp: Ramp, lack: str, out: Outputs) -> None:
    """Reverts to the stage before, where the spec says so and there is one; else holds. A person goes on from there."""
    pace, before = state.current.pace, state.desired.exposure
    lower = next((stage for stage in reversed(ramp.shares) if stage < before), None)
    why = f"{lack} after {duration_text(pace.watched // SECOND)}"
    if ramp.then != "revert" or lower is None:
        pace.held = why
        _stand(state, HELD, f"{_stage(state)} is held: {why}; {A_PERSON}", Severity.HOLD, out)
        return
    words = f"{_stage(state)} is reverted to {lower:g}: {why}; {A_PERSON}"
    evidence = _evidence(state, _say(state, REVERTED, words, Severity.HOLD, out))
    pace.begin_stage()
    pace.held, pace.kind, pace.stands = why, HELD, words
    state.desired.exposure = lower
    _order(state, Action.THROTTLE, words, evidence, out)


def _keep_watching(state: ExperimentState, seconds: int, out: Outputs) -> None:
    """At full exposure there is nothing to raise; what was promised is to look on, and to say when that is over."""
    who, long = f"{state.experiment.treatment.name!r} has all of the traffic", duration_text(seconds)
    if state.current.pace.watched < seconds * SECOND:
        _stand(state, WATCHED, f"{who} and is watched for {long}", Severity.INFO, out)
        return
    against = "; ".join(_findings(state)) or "nothing speaks against it"
    words = f"{who} and was watched for {long}, as promised: {against}. The watch is over"
    words += "; a person completes it" if state.lifecycle == Lifecycle.RUNNING else ", and goes on while it is served"
    _stand(state, OVER, words, Severity.INFO, out)


def _order(state: ExperimentState, action: Action, words: str, evidence: Evidence, out: Outputs) -> None:
    raises = action == Action.SET_EXPOSURE
    command(state, action, RULE, VERSION, f"{action} {state.name!r}: {words}", out, evidence=evidence, raises=raises)


def _wait(state: ExperimentState, kind: str, obstacle: str, out: Outputs) -> None:
    _stand(state, f"{WAITS}/{kind}", f"{_stage(state)} waits: {obstacle}", Severity.INFO, out)


def _stand(state: ExperimentState, kind: str, words: str, severity: Severity, out: Outputs) -> None:
    """Says where the ramp stands, once of each kind: the numbers in it go on changing."""
    pace = state.current.pace
    if pace.kind == kind:
        return
    pace.kind, pace.stands = kind, words
    _say(state, kind.partition("/")[0], words, severity, out)
    out.registry(state)


def _say(state: ExperimentState, reason: str, words: str, severity: Severity, out: Outputs) -> JournalEntry:
    return out.journal(state, Finding(Outcome.OK, reason, words, severity, _evidence(state)))


def _evidence(state: ExperimentState, said: JournalEntry | None = None) -> Evidence:
    """said: the finding that a command rests on."""
    units = state.current.pace.units
    return Evidence(
        rule=RULE,
        rule_version=VERSION,
        metric="units",
        statistic="units that met the treatment in the stage",
        observed=float(units),
        bound=float(state.experiment.spec.ramp.at(state.desired.exposure).units),
        units_treatment=units,
        journal_ids=(said.entry_id,) if said else (),
    )
