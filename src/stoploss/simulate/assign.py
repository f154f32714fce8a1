"""Which variant a unit gets: by hash, sticky, or however the caller says (the demo asks the live flag file)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from stoploss.experiment import Experiment


@dataclass(frozen=True, slots=True)
class Assigned:
    """A unit's variant, and the run and epoch that the flag stood in."""

    variant: str
    run: int | None = None
    epoch: int | None = None


Assign = Callable[[str], Assigned]
"""From unit_id. Asked when a trace is made, so that a flag that flips is felt by the next trace."""


def sticky(experiment: str, *, control: str, treatment: str, exposure: float) -> Assign:
    """The same variant for a unit at every request, the treatment for a share `exposure` of the units, in [0, 1].

    A unit that is in the treatment at one exposure stays there at every larger one.
    """

    def assign(unit_id: str) -> Assigned:
        return Assigned(treatment if position(experiment, unit_id) < exposure else control)

    return assign


def position(experiment: str, unit_id: str) -> float:
    """Where a unit stands in [0, 1): uniform, and independent between experiments.

    >>> round(position("checkout-agent-model", "user-000001"), 4)
    0.8894
    """
    digest = hashlib.blake2b(f"{experiment}:{unit_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclass(frozen=True, slots=True)
class Arms:
    """An experiment as the traffic sees it: its arms, what they may use, and who gets which.

    control_model, treatment_model  as the variants declare them; the price of a request follows from them
    tool, scope, mcp_server         what both arms declare; None: their traces have no steps
    score                           the quality score that the experiment reads
    """

    experiment: str
    control: str
    treatment: str
    assign: Assign
    control_model: str = "large-2"
    treatment_model: str = "small-1"
    tool: str | None = "search"
    scope: str | None = "catalog.read"
    mcp_server: str | None = "catalog"
    score: str = "helpfulness"

    @property
    def models_differ(self) -> bool:
        return self.control_model != self.treatment_model

    def model(self, variant: str) -> str:
        return self.treatment_model if variant == self.treatment else self.control_model


def arms_of(experiment: Experiment, *, exposure: float = 0.5, assign: Assign | None = None) -> Arms:
    """The arms of a spec; without `assign`, sticky by hash with `exposure`."""
    control, treatment = experiment.arms
    tool = next((tool for tool in control.tools if tool in treatment.tools), None)
    servers = [server for server in control.mcp_servers if server in treatment.mcp_servers]
    objective = experiment.spec.objective
    by_hash = sticky(experiment.name, control=control.name, treatment=treatment.name, exposure=exposure)
    return Arms(
        experiment=experiment.name,
        control=control.name,
        treatment=treatment.name,
        assign=assign or by_hash,
        control_model=control.model or "large-2",
        treatment_model=treatment.model or "large-2",
        tool=tool.name if tool else None,
        scope=tool.scopes[0] if tool and tool.scopes else None,
        mcp_server=servers[0] if servers else None,
        score=objective.quality.score if objective and objective.quality else "helpfulness",
    )
