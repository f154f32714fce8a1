"""The arms of a spec: what each is made of, who gets which, and what a request of either may do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stoploss.spec.base import Name, Part, Seconds


class Tool(Part):
    name: str
    scopes: tuple[str, ...] = ()
    side_effect: bool = False


class Variant(Part):
    """What one arm is made of; anything it does outside of this is a gate.

    prompt        name and version, such as checkout@v7
    prompt_hash   hash of the prompt's text, as traces carry it
    versions      of data, index, features and whatever else the answers are made with
    data_classes  what its outputs may hold: email, card, iban, ssn, phone, api_key, or names for people
    """

    name: Name
    model: str | None = None
    prompt: str | None = None
    prompt_hash: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    routing: str | None = None
    tools: tuple[Tool, ...] = ()
    mcp_servers: tuple[str, ...] = ()
    data_classes: tuple[str, ...] = ()

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(scope for tool in self.tools for scope in tool.scopes)

    @property
    def side_effects(self) -> frozenset[str]:
        """Tools that may change something outside."""
        return frozenset(tool.name for tool in self.tools if tool.side_effect)

    @property
    def serving(self) -> dict[str, str]:
        """What a trace must show where it shows anything, by column of the trace; prompt is name@version, or a name."""
        name, _, version = (self.prompt or "").partition("@")
        declared = {
            "model": self.model,
            "prompt_name": name,
            "prompt_version": version,
            "prompt_hash": self.prompt_hash,
            "routing": self.routing,
        }
        return {column: value for column, value in declared.items() if value}


class Assignment(Part):
    """Who gets which variant, by which flag, and which controllers must apply a command."""

    flag: str
    randomisation_unit: Literal["user", "session", "trace"] = "user"
    control: Name
    controllers: tuple[str, ...] = ()
    service_timeout: Seconds = 60


class StepPath(Part):
    """What holds for the steps of each request, in both variants; each list switches on a gate of its own.

    order      tools of which none may be called before one that is listed earlier, by the first call of each in a
               request; a tool that is never called is not missed
    approvals  tools that may be called only with an approval: the step's own, or an approval step of the tool's name
               before it
    handoffs   the only [from, to] pairs of agents that may hand over
    """

    order: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    handoffs: tuple[tuple[str, str], ...] | None = None


Cap = Annotated[int, Field(ge=0, le=10**9)]


class Limits(Part):
    """The most that one request may take; one more trips the gate `runaway`. What an agent reads is input_tokens."""

    steps: Cap | None = None
    repeated_calls: Cap | None = None
    retries: Cap | None = None
    input_tokens: Cap | None = None
    samples: Cap | None = None

    @property
    def caps(self) -> dict[str, int]:
        """By metric."""
        return {name: cap for name, cap in self if cap is not None}
