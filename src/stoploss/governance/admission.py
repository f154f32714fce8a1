"""Whether people's decisions allow a request: policy, approvals and their conditions, evidence, who asks.

The lifecycle has allowed it already. All of it is judged from the ledger alone, so a replay refuses what was refused.
What only lowers exposure is never refused here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from stoploss.commands import Micros
from stoploss.errors import RequestRefused
from stoploss.experiment import Experiment, others_in
from stoploss.followup import failing
from stoploss.governance import approvals, freezing, hours
from stoploss.governance.bodies import ApprovalTerms, CompletionTerms, NoteTerms, body_of, fault_of
from stoploss.governance.record import Freeze
from stoploss.governance.reminders import overdue
from stoploss.ledger import Request
from stoploss.lifecycle import LIVE, RAISES
from stoploss.policy.file import policy_in_force
from stoploss.policy.model import Policy
from stoploss.policy.requirements import ASSESSMENTS, evaluation_faults, said_of
from stoploss.state import ExperimentState

WAITS_FOR_ACKS = 2
"""The edition (ledger.EDITION) since which an amendment waits for them."""


@dataclass(frozen=True, slots=True)
class Organisation:
    """What holds for all experiments. policy: as YAML, empty where none is in force; freeze: the stop of the line."""

    policy: str
    freeze: Freeze


def objection(
    state: ExperimentState | None, request: Request, spec: Experiment | None, house: Organisation, at: Micros
) -> str | None:
    """Why people's decisions stand in the way of a request, in a sentence; None where nothing does.

    state  None: the experiment is not registered yet
    spec   of a registration or an amendment
    """
    policy = policy_in_force(house.policy) if house.policy else None
    if spec is not None:
        return _of_spec(state, request, spec, policy)
    assert state is not None
    if why := fault_of(request.action, request.body):
        return why
    return next(_objections(state, request, policy, house.freeze, at), None)


def _objections(
    state: ExperimentState, request: Request, policy: Policy | None, freeze: Freeze, at: Micros
) -> Iterator[str]:
    match request.action:
        case "approve" | "reject":
            yield from _own(state, request)
        case "rehearse":
            if _not_applied(state):
                yield "the last command is not applied by all controllers yet; rehearse once it is"
        case "complete":
            yield from _completion(state, request)
        case "reviewed":
            yield from _review(state, request)
        case "note":
            yield from _note(state, request)
        case action if action in RAISES:
            yield from _raise(state, request, policy, freeze, at)


def _not_applied(state: ExperimentState) -> str:
    """Who has yet to apply the last command; empty: nobody."""
    desired = state.desired
    if desired.command_id is None or desired.applied_at is not None:
        return ""
    return ", ".join(f"{controller}/{instance}".rstrip("/") for controller, instance in desired.awaiting.named())


# ---- specs -----------------------------------------------------------------------------------------


def _of_spec(state: ExperimentState | None, request: Request, spec: Experiment, policy: Policy | None) -> str | None:
    if state is not None and request.action == "amend":
        if spec.name != state.name:
            return f"the spec is of {spec.name!r}; register it under that name, or `stoploss clone` this one"
        if not request.reason.strip():
            return "an amendment needs a reason, which stands beside every verdict; give one with --reason"
        if spec.spec_hash == state.spec_hash:
            return "it changes nothing: the spec in force says the same"
        if (request.edition or 0) >= WAITS_FOR_ACKS and (who := _not_applied(state)):
            return f"{who} has not applied the last command yet, and an amendment would forget it; amend once it has"
    frozen = request.freezes or policy is not None
    if request.action == "register" and frozen and state is not None and spec.spec_hash != state.spec_hash:
        return "it is registered already, and a change is an amendment: `stoploss amend`, or `clone` it to begin anew"
    return said_of(policy, spec, as_before=request.edition is None) if policy is not None else None


# ---- decisions of people -----------------------------------------------------------------------------


def _own(state: ExperimentState, request: Request) -> Iterator[str]:
    if why := approvals.refused_to_author(request.by, state.governance.authors):
        yield why
    elif not request.reason.strip():
        yield f"{request.action} needs a reason; give one with --reason"
    elif request.action == "approve":
        yield from _excluded(state, body_of(ApprovalTerms, request.body))


def _excluded(state: ExperimentState, terms: ApprovalTerms) -> Iterator[str]:
    """Only a declared segment can be left out of both arms, so that the comparison stays fair."""
    declared = state.experiment.spec.segments
    for segment in terms.excluded:
        if others_in(segment.dimension):
            yield f"{segment.dimension} cannot be left out: a flag does not know the variants of another experiment"
        elif segment.dimension not in declared:
            known = ", ".join(declared) or "none"
            yield f"{segment.dimension}={segment.value} cannot be left out: the spec's segments are {known}"


def _completion(state: ExperimentState, request: Request) -> Iterator[str]:
    recommended = state.recommendation
    decision = body_of(CompletionTerms, request.body).decision
    if state.lifecycle in LIVE:
        yield from _adoption(state, decision)
    if request.reason.strip():
        return
    if recommended not in (None, decision):
        yield (
            f"the monitor recommends {recommended}, the decision is {decision}: departing from the recommendation "
            "needs a reason; give one with --reason"
        )
    elif request.edition is not None:
        yield "a decision needs a reason; give one with --reason"


def _adoption(state: ExperimentState, decision: str) -> Iterator[str]:
    """While the treatment is served, nothing but a rollout leaves it where it is: to take it away is an operator's."""
    if decision != "rollout":
        ways = f"`stoploss rollback {state.name}` or `stoploss stop {state.name}` takes it away"
        yield f"the treatment is served, and the decision is {decision}: {ways}; complete it then"
    elif state.desired.exposure <= 0 and state.current.pace.back_to is None:
        yield "nobody gets the treatment, so there is nothing to leave as it is: ramp it up, or stop it and complete it"


def _review(state: ExperimentState, request: Request) -> Iterator[str]:
    completion = state.governance.completion
    if completion is not None and completion.by == request.by:
        yield f"{request.by} has completed the experiment; a review is somebody else's"


def _note(state: ExperimentState, request: Request) -> Iterator[str]:
    item = body_of(NoteTerms, request.body).item
    items = [baseline.item for baseline in state.experiment.spec.baselines]
    if not request.reason.strip():
        yield "a note needs words; give them with --reason"
    elif item is not None and item not in items:
        yield f"{item!r} is no baseline of the spec; baselines are {', '.join(items) or 'none'}"


# ---- raising exposure --------------------------------------------------------------------------------


def exposure_asked(state: ExperimentState, request: Request) -> float:
    """The share that a raise would lead to: the one asked for, or the first stage, or the next one of a run.

    Raises RequestRefused where no stage is left.
    """
    if request.exposure is not None:
        return request.exposure
    stages = state.experiment.spec.ramp.shares
    if request.action != "ramp":
        return stages[0]
    higher = next((stage for stage in stages if stage > state.desired.exposure), None)
    if higher is None:
        raise RequestRefused(f"the last stage, {stages[-1]:g}, is reached; name a share with --exposure")
    return higher


def _raise(
    state: ExperimentState, request: Request, policy: Policy | None, freeze: Freeze, at: Micros
) -> Iterator[str]:
    try:
        exposure = exposure_asked(state, request)
    except RequestRefused as error:
        yield str(error)
        return
    if request.action == "ramp" and exposure == state.desired.exposure:
        yield f"the exposure is {exposure:g} already"
    if request.action == "ramp" and exposure < state.desired.exposure:
        return
    if why := freezing.objection(freeze):
        yield why
    yield from in_the_way(state, exposure, policy, at, as_before=request.edition is None)


def in_the_way(
    state: ExperimentState, exposure: float, policy: Policy | None, at: Micros, *, as_before: bool = True
) -> Iterator[str]:
    """Why the treatment may not get more at a moment, whoever raises it: a person, the ramp, a window that opens.

    as_before  by what was asked for before requests had editions; only a person's request says that it has one
    """
    if policy is not None:
        yield from _unmet(state, policy, at, as_before)
    yield from _conditions(state, policy, exposure, at)


def _unmet(state: ExperimentState, policy: Policy, at: Micros, as_before: bool) -> Iterator[str]:
    """What the policy in force asks for today, whatever it asked for at the registration."""
    experiment, governance = state.experiment, state.governance
    if why := said_of(policy, experiment, as_before=as_before):
        yield why
        return
    if lacking := approvals.missing(approvals.needs(policy, experiment), governance, at):
        yield f"it is not approved: {'; '.join(lacking)}"
    count = approvals.standing(governance, at)
    if experiment.spec.user_impact == approvals.MATERIAL and not any(one.statement for one in count):
        yield "it has material impact on users, and no approver has stated on it; approve it with --statement"
    required = policy.required(policy.risk_of(experiment.metadata.labels) or "")
    waived = {name for one in count for name in one.waives}
    if "offline_evaluation" in required and "offline_evaluation" not in waived:
        yield from evaluation_faults(experiment)
        yield from (f"{why}; put results that pass on record, or have it waived" for why in failing(state.case_sets))
    if "rehearsed_rollback" in required and "rehearsed_rollback" not in waived:
        yield from _rehearsal(state, policy, at)
    if late := [item for item in overdue(state, at) if _has_to_hold(item, required)]:
        yield f"baselines are overdue: {', '.join(late)}; look at them again and say `stoploss note --rechecked ITEM`"


def _has_to_hold(item: str, required: Collection[str]) -> bool:
    return "baselines" in required or ("assessments" in required and item in ASSESSMENTS)


def _rehearsal(state: ExperimentState, policy: Policy, at: Micros) -> Iterator[str]:
    done, days = state.governance.rehearsal.acknowledged_at, policy.spec.rehearsed_within / 86_400
    if done is None:
        yield f"no dry-run rollback was acknowledged; `stoploss rollback {state.name} --dry-run` orders one"
    elif at - done > policy.spec.rehearsed_within * 1_000_000:
        ago = (at - done) / 86_400e6
        yield f"the last dry-run rollback was acknowledged {ago:.1f} days ago, and {days:g} are allowed; order another"


def _conditions(state: ExperimentState, policy: Policy | None, exposure: float, at: Micros) -> Iterator[str]:
    terms = approvals.conditions(policy, state.experiment, approvals.standing(state.governance, at))
    if exposure > terms.largest_exposure:
        yield f"{exposure:g} of the traffic is more than is approved: at most {terms.largest_exposure:g}"
    yield from hours.obstacles(policy, state.experiment, at)
    for window in terms.windows:
        if not hours.inside(window, at):
            yield f"the approval holds inside {hours.text(window)} only"
