"""One request being handled: measures, collects, and hands a trace over when the last token has left."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stoploss.emit import current
from stoploss.emit.assignment import Assignment, EvaluationDetails, from_details
from stoploss.emit.context import SHADOW_OF, Context, to_token
from stoploss.emit.errors import Unsendable

if TYPE_CHECKING:
    from stoploss.emit.tracer import Tracer


class Request:
    """A context manager around the handling of one request. Made by `Tracer.request`; used once, by one task at a time.

    Nothing here raises for a wrong value: it is counted in `Tracer.stats.invalid` and goes missing from the trace.
    """

    __slots__ = (
        "_around",
        "_assignments",
        "_fields",
        "_first_token_s",
        "_is_over",
        "_scores",
        "_started_s",
        "_steps",
        "_tracer",
    )

    def __init__(self, tracer: Tracer, fields: dict[str, Any]) -> None:
        self._tracer = tracer
        self._fields = fields
        if "trace_id" not in fields:
            fields["trace_id"] = os.urandom(16).hex()
        self._assignments: list[Assignment] = []
        self._steps: list[dict[str, Any]] = []
        self._scores: list[dict[str, Any]] = []
        self._started_s = 0.0
        self._first_token_s: float | None = None
        self._is_over = False
        self._around: Request | None = None

    def __enter__(self) -> Request:
        self._around = current.begin(self)
        self._started_s = self._tracer.clock.monotonic_s()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Hand the trace over. The service's own exception passes on, and becomes the trace's error_type."""
        if self._is_over:
            return
        self._is_over = True
        current.end(self, self._around)
        ended_s = self._tracer.clock.monotonic_s()
        fields = self._fields
        fields.setdefault("latency_ms", (ended_s - self._started_s) * 1_000)
        fields.setdefault("at", self._tracer.clock.wall_us())
        if self._first_token_s is not None:
            fields.setdefault("time_to_first_token_ms", (self._first_token_s - self._started_s) * 1_000)
        if kind is not None:
            fields.setdefault("error_type", _type_name(kind))
        fields["assignments"] = self._assignments
        if self._steps:
            fields["steps"] = self._steps
        if self._scores:
            fields["scores"] = self._scores
        self._tracer.send(fields)

    async def __aenter__(self) -> Request:
        """The same as `with`: nothing here waits."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def set(self, **fields: Any) -> None:
        """Fields of schemas/trace.avsc: model, input_tokens, output_tokens, cost_usd, finish_reason, pii_exposed, …

        What is set here wins over what is measured: `set(error_type=None)` keeps a cancelled request from counting as
        an error.
        """
        self._fields.update(fields)

    def first_token(self) -> None:
        """The first token has left. Only the first call counts."""
        if self._first_token_s is None:
            self._first_token_s = self._tracer.clock.monotonic_s()

    def step(self, kind: str, name: str, **details: Any) -> None:
        """A step of the agent, in order.

        kind     model | tool | handoff | approval | guardrail
        details  agent, mcp_server, scope, side_effect, approval_id, outcome
        """
        self._steps.append({"kind": kind, "name": name, **details})

    def score(self, name: str, value: float) -> None:
        """A judged quality that is known already; one that comes later is an outcome."""
        self._scores.append({"name": name, "value": value})

    def text(self, *, input: str | None = None, output: str | None = None) -> None:
        """Texts of the request and the response; masked before they leave the process, unless the tracer opts out."""
        if input is not None:
            self._fields["input_text"] = input
        if output is not None:
            self._fields["output_text"] = output

    def assign(self, assignment: Assignment) -> None:
        """This variant handles the request; counts it as begun."""
        if isinstance(assignment, Assignment) and self._tracer.count_assignment(assignment):
            self._assignments.append(assignment)
        else:
            self._tracer.count_invalid("assignments: not an Assignment of two names")

    def is_assigned(self, experiment: str) -> bool:
        return any(assignment.experiment == experiment for assignment in self._assignments)

    def assign_all(self, assignments: Assignment | Iterable[Assignment]) -> None:
        if isinstance(assignments, Assignment):
            self.assign(assignments)
        elif isinstance(assignments, Iterable):
            for assignment in assignments:
                self.assign(assignment)
        else:
            self._tracer.count_invalid("assignments: not a list")

    def assign_from(
        self, details: EvaluationDetails, experiment: str | None = None, consent: bool | None = None
    ) -> None:
        """The variant that an OpenFeature evaluation chose, with run and epoch from the flag's metadata.

        experiment  None: the metadata's `experiment`, or the flag's key
        consent     whether the user agreed to take part; None: as the metadata say, or not asked
        """
        try:
            assignment = from_details(details, experiment, consent)
        except Unsendable as error:
            self._tracer.count_invalid(error.reason)
        except (AttributeError, TypeError, ValueError, OverflowError):
            self._tracer.count_invalid("assignments: not evaluation details")
        else:
            self.assign(assignment)

    @property
    def context(self) -> str:
        """A token to give to `Tracer.outcome` later, from any process; empty where the context is too large."""
        fields = self._fields
        attributes = fields.get("attributes")
        context = Context(
            trace_id=fields["trace_id"],
            unit_id=fields.get("unit_id"),
            assignments=tuple(self._assignments),
            tenant=fields.get("tenant"),
            language=fields.get("language"),
            channel=fields.get("channel"),
            conversation_id=fields.get("conversation_id"),
            attributes=_of_shadow(fields) | (attributes if isinstance(attributes, dict) else {}),
        )
        try:
            return to_token(context)
        except Unsendable as error:
            self._tracer.count_invalid(error.reason)
            return ""


def _of_shadow(fields: dict[str, Any]) -> dict[str, str]:
    """What says of an outcome that it is about a shadow run."""
    return {SHADOW_OF: ""} if fields.get("role") == "shadow" else {}


def _type_name(kind: type[BaseException]) -> str:
    """As OpenTelemetry's error.type: the qualified name of the exception's class, builtins bare.

    >>> _type_name(TimeoutError)
    'TimeoutError'
    """
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
