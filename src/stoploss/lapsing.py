"""A run lives as long as what people allowed: when approvals end it is paused, and their conditions hold meanwhile.

Looked at every ten seconds of ledger time. All of it only lowers exposure: who approves again has not resumed.
"""

from __future__ import annotations

from stoploss.commands import Action, Evidence, Segment
from stoploss.decisions import command
from stoploss.governance import approvals
from stoploss.governance.record import Approval
from stoploss.journal import Finding
from stoploss.lifecycle import LIVE
from stoploss.outputs import Outputs
from stoploss.policy.file import policy_in_force
from stoploss.rules.verdict import Outcome, Severity
from stoploss.state import ExperimentState, PartitionState

RULE, VERSION = "approvals", 1
ENDED, ENDING, CONDITION = "approval_ended", "approval_ends_soon", "condition"
WARNED_BEFORE = 86_400_000_000
"""Microseconds before its end at which an approval is said to end."""


def keep_permission(partition: PartitionState, state: ExperimentState, out: Outputs) -> None:
    """Of a run without approvals nothing is asked; nor, without a policy, that any stand."""
    if state.lifecycle not in LIVE or not state.governance.approvals:
        return
    _warn(state, out)
    if partition.policy.text:
        wanted = approvals.needs(policy_in_force(partition.policy.text), state.experiment)
        if over := approvals.ended(wanted, state.governance, out.at):
            _pause(state, "; ".join(over), out)
            return
    _keep_conditions(state, out)


def _warn(state: ExperimentState, out: Outputs) -> None:
    """Says once of each approval that it ends within a day."""
    soon = approvals.ending(state.governance, out.at, WARNED_BEFORE)
    for one in soon:
        if _name(one) not in state.governance.ending:
            hours = ((one.expires_at or 0) - out.at) / 3_600e6
            words = (
                f"the approval of {one.by} for {one.domain} ends in {hours:.3g} hours; the run is paused where it is "
            )
            words += "needed then: approve again"
            out.journal(state, Finding(Outcome.OK, ENDING, words, Severity.HOLD, _evidence(one.domain)))
    state.governance.ending = [_name(one) for one in soon]


def _name(approval: Approval) -> str:
    return f"{approval.domain}/{approval.by}"


def _pause(state: ExperimentState, why: str, out: Outputs) -> None:
    words = f"it is no longer approved: {why}"
    state.desired.exposure, state.desired.release_variant = 0.0, state.experiment.spec.rollback.to
    _order(state, Action.PAUSE, Outcome.BREACH, ENDED, words, _evidence("approvals"), out)


def _keep_conditions(state: ExperimentState, out: Outputs) -> None:
    """What an approver has narrowed since the run began."""
    terms = approvals.conditions(None, state.experiment, approvals.standing(state.governance, out.at))
    left_out = [one for one in terms.excluded if one not in state.desired.stopped_segments]
    if left_out:
        state.desired.stopped_segments += left_out
        words = f"approved without {', '.join(map(str, left_out))}"
        _order(state, Action.STOP_SEGMENT, Outcome.OK, CONDITION, words, _evidence("segments", left_out[0]), out)
    if max(state.desired.exposure, state.current.pace.back_to or 0.0) > terms.largest_exposure:
        before = state.desired.exposure
        words = f"{before:g} of the traffic is more than is approved: at most {terms.largest_exposure:g}"
        state.current.pace.lowered(terms.largest_exposure, words)
    if state.desired.exposure > terms.largest_exposure:
        state.desired.exposure = terms.largest_exposure
        _order(state, Action.THROTTLE, Outcome.OK, CONDITION, words, _evidence("exposure"), out)


def _evidence(what: str, segment: Segment | None = None) -> Evidence:
    return Evidence(rule=RULE, rule_version=VERSION, metric=what, segment=segment)


def _order(
    state: ExperimentState, action: Action, verdict: Outcome, reason: str, words: str, evidence: Evidence, out: Outputs
) -> None:
    severity = Severity.PAGE if verdict == Outcome.BREACH else Severity.HOLD
    said = out.journal(state, Finding(verdict, reason, words, severity, evidence))
    named = Evidence(RULE, VERSION, evidence.metric, evidence.segment, journal_ids=(said.entry_id,))
    command(state, action, RULE, VERSION, f"{action} {state.name!r}: {words}", out, evidence=named)
