"""Whether another spec can be judged on what was recorded: intake has kept only what the spec in force asked for."""

from __future__ import annotations

from collections.abc import Iterator

from stoploss.errors import InvalidExperiment, Violation
from stoploss.experiment import Experiment
from stoploss.intake.watched import Watched

AS_REGISTERED = "differs from the registered spec, by which the requests were {}; leave it as it was registered"
MEASURE_IT = "register a spec that asks for it and let it run, or leave it out here"


def require(recorded: Experiment, other: Experiment, file: str) -> None:
    """Raises InvalidExperiment with everything that the other spec needs and the record does not have."""
    found = [*_same_requests(recorded, other), *_same_evidence(recorded, other)]
    if found:
        raise InvalidExperiment(file, found)


def _same_requests(recorded: Experiment, other: Experiment) -> Iterator[Violation]:
    """Who was served what, and what counted as outside of its declaration, is in the evidence and cannot be undone."""
    if other.name != recorded.name:
        message = f"is {other.name!r}, and the record is of {recorded.name!r}; give a spec of the same experiment"
        yield Violation(None, "metadata.name", message)
    before, after = recorded.spec, other.spec
    assigned = {
        "spec.assignment.randomisationUnit": before.assignment.randomisation_unit
        != after.assignment.randomisation_unit,
        "spec.assignment.control": before.assignment.control != after.assignment.control,
    }
    projected = {
        "spec.variants": before.variants != after.variants,
        "spec.path": before.path != after.path,
        "spec.limits": before.limits != after.limits,
        "spec.userImpact": before.user_impact != after.user_impact,
        "spec.privacy.pii": before.privacy.pii != after.privacy.pii,
    }
    for how, fields in (("assigned", assigned), ("judged at intake", projected)):
        yield from (Violation(None, field, AS_REGISTERED.format(how)) for field, differs in fields.items() if differs)


def _same_evidence(recorded: Experiment, other: Experiment) -> Iterator[Violation]:
    had, needed = Watched.of(recorded, 0), Watched.of(other, 0)
    columns = {plan.column for plan in had.metrics}
    for plan in needed.metrics:
        if plan.column not in columns:
            yield Violation(None, "metric", f"{plan.column!r} was not recorded; {MEASURE_IT}")
    for dimension in needed.segments:
        if dimension not in had.segments:
            yield Violation(None, "spec.segments", f"{dimension!r} was not recorded; {MEASURE_IT}")
    for gate in needed.gates:
        if gate not in had.gates:
            yield Violation(None, "spec.gates", f"{gate!r} was not looked for; {MEASURE_IT}")
