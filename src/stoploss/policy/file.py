"""A YAML file to a Policy, once, at the edge; every violation points at its line and field."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from stoploss.errors import InvalidExperiment
from stoploss.governance.windows import fault, freeze_fault
from stoploss.policy.model import Policy
from stoploss.spec.file import Fault, Path, read_model, violations_at


def parse_policy(text: str, name: str = "the policy") -> Policy:
    """The policy of a YAML text; raises InvalidExperiment with all violations at once."""
    policy, root = read_model(Policy, text, name)
    if found := list(_faults(policy)):
        raise InvalidExperiment(name, violations_at(root, found))
    return policy


@lru_cache(maxsize=64)
def policy_in_force(text: str) -> Policy:
    """A policy that was accepted; parsed once per process."""
    return parse_policy(text)


def _faults(policy: Policy) -> Iterator[Fault]:
    spec = policy.spec
    if spec.default_risk is not None and spec.default_risk not in spec.risk_classes:
        known = ", ".join(spec.risk_classes)
        yield ("spec", "defaultRisk"), f"{spec.default_risk!r} is no class of risk; declared are {known}"
    for name, risk in spec.risk_classes.items():
        at: Path = ("spec", "riskClasses", name)
        for index, window in enumerate(risk.windows):
            if found := fault(window.days, window.from_, window.to, window.timezone):
                yield (*at, "windows", index), found
        if risk.runs_only_inside and not risk.windows:
            yield (*at, "runsOnlyInside"), "no windows are declared; add windows, or drop it"
    for index, freeze in enumerate(spec.freezes):
        if found := freeze_fault(freeze.from_, freeze.to, freeze.timezone):
            yield ("spec", "freezes", index), found
