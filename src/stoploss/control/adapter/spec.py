"""adapter.yaml: which requests tell a vendor what a command desires; parsed once, every fault with line and field."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stoploss.commands import Action
from stoploss.control.adapter.template import Scalar
from stoploss.spec.base import Name, Part, Seconds

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Treatment = Literal["none", "some", "all"]
LONGEST_ASKED_S = 5.0


class Secret(Part):
    """Where a secret is read, anew for each command: exactly one of both.

    env   name of an environment variable
    file  a file with the secret alone; white space around it is no part of it
    """

    env: str | None = None
    file: Path | None = None


class When(Part):
    """For which commands a request is sent; what is not given holds for all.

    treatment  who gets the treatment: nobody (none), a share (some), everybody (all)
    actions    actions of the command
    """

    treatment: Treatment | None = None
    actions: tuple[Action, ...] | None = None


class Request(Part):
    """One request. `url`, the values of `headers`, and texts and keys of `body` are templates.

    body  a mapping or a list, sent as JSON; a text that is one place alone keeps its type
    """

    when: When = When()
    method: Method
    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    body: dict[str, Any] | list[Any] | None = None


class Retry(Part):
    """
    attempts  how often a request is sent at most
    pause     wait before the second attempt; it doubles for each further one, unless the vendor says how long
    statuses  of HTTP that are tried again, beside 408, 425, 429, 500, 502, 503, 504 and no answer at all
    """

    attempts: int = Field(3, ge=1, le=10)
    pause: Seconds = 1
    statuses: tuple[int, ...] = ()

    def pause_s(self, attempt: int, asked_s: float | None = None) -> float:
        """Seconds after a failed attempt, the first being 1.

        asked_s  how long the vendor asks to be left alone: kept up to a limit, for the courier sends again later
        """
        return float(self.pause * 2 ** (attempt - 1)) if asked_s is None else min(LONGEST_ASKED_S, asked_s)

    def longest_s(self, timeout_s: float) -> float:
        """What one request takes at most."""
        pauses = (max(LONGEST_ASKED_S, self.pause_s(attempt)) for attempt in range(1, self.attempts))
        return self.attempts * timeout_s + sum(pauses)


class Rate(Part):
    """At most so many requests in so long; a command beyond it is rejected, and comes again."""

    requests: int = Field(gt=0)
    per: Seconds


class Signature(Part):
    """Signs each request as Standard Webhooks has it: HMAC-SHA256 over id, timestamp and body.

    secret  which of the secrets is the key
    """

    secret: str


class Adapter(Part):
    """
    name                of the controller, as specs list it in `assignment.controllers`
    variables           names of your own with one value each
    tables              names of your own with a value for each value of one or several names
    secrets             names whose values are never shown
    stopped_segments    close: a stopped segment ends the treatment for everybody; passed: the body names the segments
    once                the requests are events, not states: never sent again for a command that was applied
    idempotency_header  carries the command's id and the request's number, the same for each attempt
    timeout             for each attempt
    ca_file             certificates to believe, instead of the system's
    """

    api_version: Literal["stoploss/v1alpha1"]
    kind: Literal["Adapter"]
    name: Name
    variables: dict[str, Scalar] = Field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = Field(default_factory=dict)
    secrets: dict[str, Secret] = Field(default_factory=dict)
    requests: tuple[Request, ...]
    stopped_segments: Literal["close", "passed"] = "close"
    once: bool = False
    signature: Signature | None = None
    idempotency_header: str = "Idempotency-Key"
    timeout: Seconds = 3
    retry: Retry = Retry()
    rate: Rate | None = None
    ca_file: Path | None = None

    @property
    def own_names(self) -> Mapping[str, Any]:
        return {**self.variables, **self.tables}
