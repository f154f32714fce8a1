"""When windows close, exposure goes to the safe share; when they open, it returns to where it was, in a new epoch.

Seconds pass because ticks stand in the ledger, and time zones are those of the pinned tzdata, so a replay closes and
opens at the same entries. The run goes on: its rules keep what they know. A return is a raise like any other: people's
decisions have to allow it, it expires, and it never gives more than there was, or than was asked for since.
"""

from __future__ import annotations

from stoploss.commands import Action, Evidence
from stoploss.decisions import command
from stoploss.governance import hours
from stoploss.governance.admission import in_the_way
from stoploss.journal import Finding, JournalEntry
from stoploss.lifecycle import LIVE, Lifecycle
from stoploss.outputs import Outputs
from stoploss.policy.file import policy_in_force
from stoploss.policy.model import Policy
from stoploss.rules.verdict import Outcome, Severity
from stoploss.state import ExperimentState, PartitionState

RULE, VERSION = "windows", 1
CLOSED, OPEN, WAITS = "windows_closed", "windows_open", "return_waits"


def keep_hours(partition: PartitionState, state: ExperimentState, out: Outputs) -> None:
    """Once a tick for every run."""
    if state.lifecycle not in LIVE:
        return
    policy = policy_in_force(partition.policy.text) if partition.policy.text else None
    why = hours.shut(policy, state.experiment, out.at)
    if why is not None:
        _close(state, why, out)
    elif state.current.pace.back_to is not None and state.lifecycle != Lifecycle.HOLDING:
        _open(state, policy, out)


def _close(state: ExperimentState, why: str, out: Outputs) -> None:
    pace, safe, before = state.current.pace, hours.safe_share(state.experiment), state.desired.exposure
    if before <= safe:
        if pace.kind == WAITS:
            pace.kind, pace.stands = CLOSED, f"{why}: exposure stays at {before:g} until they open"
            out.registry(state)
        return
    pace.back_to, state.desired.exposure = before, safe
    words = f"{why}: exposure goes from {before:g} to {safe:g} until they open"
    pace.kind, pace.stands = CLOSED, words
    _order(state, Action.THROTTLE, CLOSED, words, before, out)


def _open(state: ExperimentState, policy: Policy | None, out: Outputs) -> None:
    pace, before = state.current.pace, state.desired.exposure
    share = max(before, pace.back_to or 0.0)
    if why := _obstacle(state, share, policy, out):
        if pace.kind != WAITS:
            pace.kind, pace.stands = WAITS, f"the windows are open, but {why}: exposure stays at {before:g}"
            _say(state, WAITS, Severity.HOLD, pace.stands, out)
            out.registry(state)
        return
    pace.back_to, pace.kind, pace.stands = None, "", ""
    if share > before:
        state.desired.exposure = share
        words = f"the windows are open: exposure returns from {before:g} to {share:g}"
        _order(state, Action.SET_EXPOSURE, OPEN, words, before, out)


def _obstacle(state: ExperimentState, share: float, policy: Policy | None, out: Outputs) -> str | None:
    if state.current.sight.since is not None:
        return "the monitor does not see what the run does"
    return next(in_the_way(state, share, policy, out.at), None)


def _order(state: ExperimentState, action: Action, reason: str, words: str, before: float, out: Outputs) -> None:
    said = _say(state, reason, Severity.INFO, words, out, before)
    evidence = _evidence(state, before, said)
    raises = action == Action.SET_EXPOSURE
    command(state, action, RULE, VERSION, f"{action} {state.name!r}: {words}", out, evidence=evidence, raises=raises)


def _say(
    state: ExperimentState, reason: str, severity: Severity, words: str, out: Outputs, before: float | None = None
) -> JournalEntry:
    return out.journal(state, Finding(Outcome.OK, reason, words, severity, _evidence(state, before)))


def _evidence(state: ExperimentState, before: float | None, said: JournalEntry | None = None) -> Evidence:
    return Evidence(
        rule=RULE,
        rule_version=VERSION,
        metric="exposure",
        statistic="share of the traffic before it",
        observed=before,
        bound=state.desired.exposure,
        journal_ids=(said.entry_id,) if said else (),
    )
