"""What follows from people's decisions: recorded in the state, said in the journal, shown by the registry.

Nothing here touches traffic, but for a rehearsal, whose command changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from stoploss.awaited import Awaited
from stoploss.commands import AckStatus, Action, Micros, Segment
from stoploss.decisions import enter
from stoploss.experiment import Experiment
from stoploss.governance import approvals, changes
from stoploss.governance.bodies import (
    ApprovalTerms,
    CompletionTerms,
    NoteTerms,
    RejectionTerms,
    body_of,
)
from stoploss.governance.breaking import says_why
from stoploss.governance.record import (
    MOST_AMENDMENTS,
    Amendment,
    Approval,
    Completion,
    DailyWindow,
    PolicyInForce,
    Rehearsal,
    stood_before,
)
from stoploss.journal import CommandAcked, CommandIssued
from stoploss.ledger import AckReceived, Request
from stoploss.lifecycle import LIVE, TABLE, WAITING, Lifecycle
from stoploss.outputs import Outputs
from stoploss.policy.file import policy_in_force
from stoploss.state import Desired, ExperimentState, PartitionState, RunState

REHEARSAL = "person/rehearsal"
MOST_NAMED = 8


# ---- the policy --------------------------------------------------------------------------------------


def take_policy(state: PartitionState, request: Request) -> None:
    """Puts a policy in force on the partition; one that was sent before the policy in force is passed over."""
    if request.accepted and not stood_before(request.source or "", state.policy.source):
        state.policy = PolicyInForce(request.spec or "", request.by, request.at, request.source or "")


# ---- words -------------------------------------------------------------------------------------------


def told(state: ExperimentState, request: Request, spec: Experiment | None) -> str:
    """What the journal keeps of an accepted request: its terms and its reason."""
    words = request.reason or "as asked"
    match request.action:
        case "register" if changes_nothing(state, request):
            return changes.NOTHING_CHANGED
        case "amend" if spec is not None:
            return f"{_changes(state, spec)}: {words}"
        case "approve":
            return f"{_terms(body_of(ApprovalTerms, request.body))}: {words}"
        case "reject":
            return f"for {body_of(RejectionTerms, request.body).domain}: {words}"
        case "complete":
            return f"{_decision(state, body_of(CompletionTerms, request.body))}: {words}"
        case "note":
            note = body_of(NoteTerms, request.body)
            return f"{note.kind}{f' {note.item!r}' if note.item else ''}: {words}"
        case _:
            return words


def _changes(state: ExperimentState, spec: Experiment) -> str:
    fields = changes.fields(state.experiment, spec)
    more = f" and {len(fields) - MOST_NAMED} more" if len(fields) > MOST_NAMED else ""
    lost = "; approvals are void" if changes.voids(fields) and state.governance.approvals else ""
    return f"changes {', '.join(fields[:MOST_NAMED])}{more}{lost}"


def _terms(terms: ApprovalTerms) -> str:
    found = [f"for {terms.domain}"]
    if terms.largest_exposure is not None:
        found.append(f"up to {terms.largest_exposure:g} of the traffic")
    if terms.window is not None:
        found.append(f"inside {terms.window.days} {terms.window.from_} to {terms.window.to} {terms.window.timezone}")
    if terms.excluded:
        found.append(f"without {', '.join(f'{one.dimension}={one.value}' for one in terms.excluded)}")
    if terms.valid_for is not None:
        found.append(f"for {terms.valid_for / 86_400:g} days")
    if terms.waives:
        found.append(f"waives {', '.join(terms.waives)}")
    if terms.statement:
        found.append(f"states {terms.statement!r}")
    return ", ".join(found)


def _decision(state: ExperimentState, terms: CompletionTerms) -> str:
    found = [terms.decision, f"recommended was {state.recommendation or 'nothing'}"]
    found += [f"stays served at {state.desired.exposure:g} of the traffic"] if state.lifecycle in LIVE else []
    found += [f"reviewer: {terms.reviewer}"] if terms.reviewer else []
    found += [f"caveats: {terms.caveats}"] if terms.caveats else []
    return ", ".join(found + ([f"lesson: {terms.lesson}"] if terms.lesson else []))


# ---- specs -------------------------------------------------------------------------------------------


def changes_nothing(state: ExperimentState, request: Request) -> bool:
    """Whether it registers again what is registered. Whoever registers is an author, so before the first are none."""
    return request.action == "register" and request.freezes and bool(state.governance.authors)


def put_in_force(state: ExperimentState, request: Request, spec: Experiment) -> None:
    """A spec takes the place of the one before; no run is under way."""
    state.spec, state.spec_hash = request.spec or "", spec.spec_hash
    state.desired = Desired(release_variant=spec.control.name)
    state.current = RunState.begin(state.spec)


def amend(state: ExperimentState, request: Request, spec: Experiment, reason: str, out: Outputs) -> None:
    """The change is kept beside the spec; approvals of what it changes are lost."""
    governance, fields = state.governance, changes.fields(state.experiment, spec)
    voided = changes.voids(fields)
    if voided:
        governance.approvals = []
    amendment = Amendment(request.by, request.reason, out.at, spec.spec_hash, fields, voided)
    governance.amendments = [*governance.amendments, amendment][-MOST_AMENDMENTS:]
    governance.authors = list(dict.fromkeys((*governance.authors, request.by)))
    put_in_force(state, request, spec)
    if state.lifecycle not in WAITING:
        enter(state, Lifecycle.REGISTERED, reason, out)


# ---- decisions ---------------------------------------------------------------------------------------


def decide(state: ExperimentState, request: Request, reason: str, out: Outputs) -> None:
    """Takes an approval, rejection, completion, review or note, and enters the state that it leads to."""
    match request.action:
        case "approve":
            approval = _approval(body_of(ApprovalTerms, request.body), request, out.at)
            state.governance.approvals = approvals.with_approval(state.governance.approvals, approval)
        case "reject":
            domain = body_of(RejectionTerms, request.body).domain
            rejection = _approval(ApprovalTerms(domain=domain), request, out.at, granted=False)
            state.governance.approvals = approvals.with_approval(state.governance.approvals, rejection)
        case "complete":
            state.governance.completion = _completion(state, request, out.at)
            state.current.pace.end_ramp()
        case "reviewed" if state.governance.completion is not None:
            state.governance.completion = replace(state.governance.completion, reviewed_at=out.at)
        case "note":
            note = body_of(NoteTerms, request.body)
            _noted(state, note.item, out)
    if request.action in ("complete", "reviewed"):
        enter(state, TABLE[request.action][state.lifecycle], reason, out)


def _noted(state: ExperimentState, item: str | None, out: Outputs) -> None:
    """item: the baseline that was looked at again. Any other note says why the glass was broken, where that is open."""
    governance = state.governance
    if item is not None:
        governance.rechecked[item] = out.at
    elif governance.unexplained_at is not None:
        governance.unexplained_at = None
    else:
        return
    out.registry(state)


def glass_broken(state: ExperimentState, request: Request, at: Micros) -> None:
    """Whoever breaks it without a word owes one, until somebody has noted it."""
    governance = state.governance
    if governance.unexplained_at is None and not says_why(request.reason):
        governance.unexplained_at = at


def settle_lifecycle(state: ExperimentState, policy_text: str, reason: str, out: Outputs) -> bool:
    """Before a start, the state says whether all approvals are there; true where that has changed."""
    if state.lifecycle not in WAITING:
        return False
    policy = policy_in_force(policy_text) if policy_text else None
    wanted = approvals.needs(policy, state.experiment)
    approved = approvals.is_approved(wanted, state.governance, out.at)
    before = state.lifecycle
    enter(state, Lifecycle.APPROVED if approved else Lifecycle.REGISTERED, reason, out)
    return state.lifecycle != before


def _approval(terms: ApprovalTerms, request: Request, at: Micros, *, granted: bool = True) -> Approval:
    window = terms.window
    return Approval(
        domain=terms.domain,
        by=request.by,
        granted=granted,
        reason=request.reason,
        at=at,
        statement=terms.statement,
        expires_at=at + terms.valid_for * 1_000_000 if terms.valid_for is not None else None,
        largest_exposure=terms.largest_exposure,
        window=DailyWindow(window.days, window.from_, window.to, window.timezone) if window else None,
        excluded=tuple(Segment(one.dimension, one.value) for one in terms.excluded),
        waives=terms.waives,
    )


def _completion(state: ExperimentState, request: Request, at: Micros) -> Completion:
    terms = body_of(CompletionTerms, request.body)
    words = (terms.caveats, terms.lesson)
    return Completion(terms.decision, request.by, request.reason, at, *words, state.recommendation, terms.reviewer)


def excluded(state: ExperimentState, at: Micros) -> list[Segment]:
    """Segments that a run begins without: what the standing approvals leave out."""
    return list(approvals.conditions(None, state.experiment, approvals.standing(state.governance, at)).excluded)


# ---- rehearsals --------------------------------------------------------------------------------------


def rehearse(state: ExperimentState, reason: str, out: Outputs) -> None:
    """Orders a rollback that changes nothing: controllers answer as they would answer a real one."""
    issued = out.command(state, Action.ROLLBACK, REHEARSAL, 1, f"dry run: {reason}", None, raises=False, dry_run=True)
    said = CommandIssued(
        issued.command_id, issued.action, issued.sequence, issued.release_variant, issued.exposure, issued.reason
    )
    out.journal(state, said)
    awaiting = Awaited.of(issued.controllers, state.instances)
    state.governance.rehearsal = Rehearsal(issued.command_id, awaiting, None if awaiting else out.at)


def rehearsed(state: ExperimentState, ack: AckReceived, out: Outputs) -> None:
    """Notes a controller's answer to the dry run in force."""
    rehearsal = state.governance.rehearsal
    if rehearsal.acknowledged_at is not None or ack.status != AckStatus.APPLIED:
        return
    out.journal(state, CommandAcked(ack.command_id, ack.controller, ack.instance, ack.status, ack.reason))
    rehearsal.awaiting.applied_by(ack.controller, ack.instance)
    if not rehearsal.awaiting:
        rehearsal.acknowledged_at = out.at
        out.registry(state)
