"""Known harm: what is done to which traces, and from when on.

An effect changes one trace and knows nothing of experiments; where it strikes (arm, segment, moment) stands apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from stoploss.errors import ConfigurationError
from stoploss.simulate.population import Population

Trace = dict[str, Any]
Chances = tuple[float, float]
Column = Literal["tenant", "language", "channel"]
Side = Literal["treatment", "both"]

TEST_CARD = "4111 1111 1111 1111"
"""Visa's published test number: passes Luhn's check, belongs to nobody."""
UNDECLARED_TOOL = "delete_account"


class Effect(Protocol):
    """What a harm does to a trace that it strikes.

    since_s  seconds since the harm began, at least 0
    chances  two uniform draws of the trace's own
    Returns the trace as harmed, the very same object where it got away, or None where no trace is sent at all.
    """

    def apply(self, trace: Trace, since_s: float, chances: Chances) -> Trace | None: ...


@dataclass(frozen=True, slots=True)
class Nothing:
    """An A/A test: both arms are alike, and every alarm is a false one."""

    def apply(self, trace: Trace, since_s: float, chances: Chances) -> Trace | None:
        return trace


@dataclass(frozen=True, slots=True)
class LeaksCard:
    """Answers repeat a payment card's number."""

    share: float = 0.05

    def apply(self, trace: Trace, since_s: float, chances: Chances) -> Trace | None:
        if chances[0] >= self.share:
            return trace
        return trace | {"output_text": f"I have charged your card {TEST_CARD} as you asked."}


@dataclass(frozen=True, slots=True)
class CallsUndeclaredTool:
    """The agent calls a tool that its variant does not declare."""

    share: float = 0.05

    def apply(self, trace: Trace, since_s: float, chances: Chances) -> Trace | None:
        if chances[0] >= self.share:
            return trace
        step = {"kind": "tool", "name": UNDECLARED_TOOL, "outcome": "ok"}
        return trace | {"steps": [*trace.get("steps", ()), step]}


@dataclass(frozen=True, slots=True)
class Fails:
    """Some of the requests that would have succeeded fail: no text, no score."""

    share: float

    def apply(self, trace: Trace, since_s: float, chances: Chances) -> Trace | None:
        if trace["error_type"] is not None or chances[0] >= self.share:
            return trace
        return trace | {"error_type": "timeout", "finish_reason": "error", "scores": [], "output_text": None}


@dataclass(frozen=True, slots=True)
class Slows:
    """Every request takes longer, and more of them fail."""

    latency_factor: float = 1.4
    failures: Fails = Fails(share=0.05)

    def apply(self, trace: Trace, since_s: float, chances: Chances) -> Trace | None:
        slowed = trace | {
            "latency_ms": trace["latency_ms"] * self.latency_factor,
            "time_to_first_token_ms": trace["time_to_first_token_ms"] * self.latency_factor,
        }
        return self.failures.apply(slowed, since_s, chances)


@dataclass(frozen=True, slots=True)
class Burns:
    """Each request costs a multiple: an agent that runs in circles."""

    cost_factor: float = 100.0

    def apply(self, trace: Trace, since_s: float, chances: Chances) -> Trace | None:
        return trace | {"cost_usd": trace["cost_usd"] * self.cost_factor}


@dataclass(frozen=True, slots=True)
class Drifts:
    """Answers grow longer, slowly: tokens by `growth` within `over_s` seconds, then no further; cost follows tokens.

    Latency is left alone, so that the drift is the detector's to find and no latency guardrail is there first.
    """

    growth: float = 1.0
    over_s: float = 600.0

    def apply(self, trace: Trace, since_s: float, chances: Chances) -> Trace | None:
        factor = 1 + self.growth * min(since_s / self.over_s, 1.0)
        return trace | {
            "output_tokens": round(trace["output_tokens"] * factor),
            "cost_usd": trace["cost_usd"] * factor,
        }


@dataclass(frozen=True, slots=True)
class FallsSilent:
    """No trace comes any more: the arm hangs, or its traces are lost."""

    def apply(self, trace: Trace, since_s: float, chances: Chances) -> Trace | None:
        return None


@dataclass(frozen=True, slots=True)
class Harm:
    """One kind of harm.

    description  one line, for the command line
    effect       what it does to a trace
    arms         which arm it strikes
    segment      (column, place in the population's values): only that value's traces; None: all
    """

    description: str
    effect: Effect
    arms: Side = "treatment"
    segment: tuple[Column, int] | None = None


HARMS: Mapping[str, Harm] = {
    "aa": Harm("nothing at all: an A/A test", Nothing()),
    "gate": Harm("5 % of the treatment's answers hold a payment card's number", LeaksCard()),
    "undeclared-tool": Harm("5 % of the treatment's requests call an undeclared tool", CallsUndeclaredTool()),
    "slow-regression": Harm("the treatment is 1.4 times as slow and one in twenty of its good requests fails", Slows()),
    "one-segment": Harm(
        "a quarter of the second tenant's good requests fail in the treatment, and nobody else's",
        Fails(share=0.25),
        segment=("tenant", 1),
    ),
    "cost-burn": Harm("each request of the treatment costs 100 times as much", Burns()),
    "drift": Harm("the treatment's answers grow, within 10 minutes, to twice their length", Drifts()),
    "provider-drift": Harm("both arms' answers grow, within 10 minutes, to twice their length", Drifts(), arms="both"),
    "silence": Harm("the treatment's traces stop", FallsSilent()),
}


@dataclass(frozen=True, slots=True)
class Injected:
    """A harm in one experiment, from `at_s` seconds after the traffic's start.

    only  (column, value) that is struck; None: all
    """

    effect: Effect
    experiment: str
    at_s: float
    arms: Side = "treatment"
    only: tuple[Column, str] | None = None

    def strike(self, trace: Trace, offset_s: float, *, is_treatment: bool, chances: Chances) -> Trace | None:
        """The trace as it is sent; the very same object where it was not harmed, None where it is not sent."""
        if offset_s < self.at_s or (self.arms == "treatment" and not is_treatment):
            return trace
        if self.only is not None and trace[self.only[0]] != self.only[1]:
            return trace
        return self.effect.apply(trace, offset_s - self.at_s, chances)


def inject(name: str, experiment: str, at_s: float, population: Population) -> Injected:
    """A harm of HARMS, by name, in an experiment; raises ConfigurationError for a name that is not there."""
    harm = HARMS.get(name)
    if harm is None:
        raise ConfigurationError(f"{name!r} is no harm that can be simulated; there are: {', '.join(HARMS)}")
    only = None
    if harm.segment is not None:
        column, place = harm.segment
        values: dict[Column, tuple[str, ...]] = {
            "tenant": population.tenants,
            "language": population.languages,
            "channel": population.channels,
        }
        only = (column, values[column][min(place, len(values[column]) - 1)])
    return Injected(harm.effect, experiment, at_s, harm.arms, only)
