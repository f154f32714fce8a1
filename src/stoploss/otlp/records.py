"""Items of the arrays of `Trace` and `Outcome`, in the order of their schemas; as tuples, which can be looked up."""

from __future__ import annotations

from typing import NamedTuple


class Assignment(NamedTuple):
    experiment: str
    variant: str
    consent: bool | None = None
    run: int | None = None
    epoch: int | None = None


class Step(NamedTuple):
    kind: str
    name: str
    agent: str | None = None
    mcp_server: str | None = None
    scope: str | None = None
    side_effect: bool = False
    approval_id: str | None = None
    outcome: str | None = None


class Attribute(NamedTuple):
    key: str
    value: str
