"""When exposure may be raised, and when the treatment may be exposed at all: windows and freezes of policy and spec.

Windows of one owner are alternatives: it is enough to be inside one of them. Those of policy and spec hold together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stoploss.commands import Micros
from stoploss.experiment import Experiment, Freeze, Window
from stoploss.governance import windows
from stoploss.governance.record import DailyWindow
from stoploss.policy.model import Policy, RiskClass

Hours = Window | DailyWindow


def obstacles(policy: Policy | None, experiment: Experiment, at: Micros) -> Iterator[str]:
    """Why nothing may be raised at a moment, a sentence each."""
    limits = _class(policy, experiment)
    for whose, listed in (("policy", limits.windows), ("spec", experiment.spec.windows)):
        if not is_open(listed, at):
            yield f"exposure is raised inside the windows of the {whose} only: {', '.join(map(text, listed))}"
    freezes = (*(policy.spec.freezes if policy else ()), *experiment.spec.freezes)
    yield from (f"nothing is raised {_days(one)}: {one.reason}" for one in freezes if _is_on(one, at))


def shut(policy: Policy | None, experiment: Experiment, at: Micros) -> str | None:
    """Why the treatment may have no more than its safe share at a moment; None: it may."""
    limits, spec = _class(policy, experiment), experiment.spec
    if limits.runs_only_inside and not is_open(limits.windows, at):
        return f"the windows of the policy are closed: {', '.join(map(text, limits.windows))}"
    if (limits.runs_only_inside or spec.safe_share is not None) and not is_open(spec.windows, at):
        return f"the windows of the spec are closed: {', '.join(map(text, spec.windows))}"
    return None


def safe_share(experiment: Experiment) -> float:
    """What the treatment keeps while the windows are closed: nothing, unless the spec declares a share."""
    return experiment.spec.safe_share or 0.0


def are_declared(policy: Policy | None, experiment: Experiment) -> bool:
    """Whether anybody has said in which hours exposure may be raised."""
    return bool(_class(policy, experiment).windows or experiment.spec.windows)


def may_close(policy: Policy | None, experiment: Experiment) -> bool:
    """Whether there is a moment in which the treatment may have no more than its safe share."""
    limits, spec = _class(policy, experiment), experiment.spec
    held = limits.runs_only_inside or spec.safe_share is not None
    return bool((limits.runs_only_inside and limits.windows) or (held and spec.windows))


def is_open(listed: Sequence[Hours], at: Micros) -> bool:
    """Whether a moment lies inside one of the windows; without any it always does."""
    return not listed or any(inside(one, at) for one in listed)


def inside(window: Hours, at: Micros) -> bool:
    return windows.inside(window.days, window.from_, window.to, window.timezone, at)


def text(window: Hours) -> str:
    return f"{window.days} {window.from_} to {window.to} {window.timezone}"


def _is_on(freeze: Freeze, at: Micros) -> bool:
    return windows.on_days(freeze.from_, freeze.to, freeze.timezone, at)


def _days(freeze: Freeze) -> str:
    return f"from {freeze.from_} to {freeze.to} {freeze.timezone}"


def _class(policy: Policy | None, experiment: Experiment) -> RiskClass:
    """Limits of the experiment's class of risk; of a spec that has none, no limits."""
    risk = policy.risk_of(experiment.metadata.labels) if policy else None
    return policy.spec.risk_classes.get(risk or "", _UNLIMITED) if policy else _UNLIMITED


_UNLIMITED = RiskClass()
