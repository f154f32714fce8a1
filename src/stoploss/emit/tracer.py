"""What a service holds: one tracer per process, from which its requests are measured and its outcomes are sent.

Fork: a tracer may be made before fork() (gunicorn's preload, a worker pool). Each child starts with counts of zero, an
empty queue and its own connection; what the parent had queued, the parent sends. The parent's connection is let go for
the moment of the fork (see pause.py), which waits for what is on the wire, at most half a second. A child that ends
through os._exit, as multiprocessing's do, runs no exit handlers: call `close()` there.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from stoploss.emit.assignment import Assignment
from stoploss.emit.clock import Clock
from stoploss.emit.counters import Counters, Stats
from stoploss.emit.encoding import Fields, encode_count, encode_outcome, encode_trace
from stoploss.emit.outcomes import Outcomes
from stoploss.emit.request import Request
from stoploss.emit.sender import Job, Route, Sender
from stoploss.emit.traced import F, traced
from stoploss.kafka import connection

ASSIGNMENTS_EVERY_S = 10.0
CLOSE_TIMEOUT_S = 5.0

_open: set[Tracer] = set()
_fork = threading.local()
"""The tracers that stand still for the fork under way in this thread."""


class Tracer:
    """Sends a service's traces, outcomes and assignment counts to Kafka; never blocks it and never raises into it.

    bootstrap           Kafka's addresses, "host:port,host:port"; None: `producer_config` names them
    service             name of the service, as it stands in every trace
    producer_config     settings of librdkafka that override outlet.DEFAULTS, such as security.protocol
    queue_size          most records on the way to Kafka at once; above it they are dropped and counted
    mask_text           replace personal data and secrets in texts before they leave the process
    assignments_every_s interval between assignment counts; their topic None: do not send them
    close_timeout_s     longest wait at exit for what is still on its way
    """

    def __init__(
        self,
        bootstrap: str | None = None,
        *,
        service: str,
        topic: str = "stoploss.traces",
        outcomes_topic: str = "stoploss.outcomes",
        assignments_topic: str | None = "stoploss.assignments",
        producer_config: Mapping[str, Any] | None = None,
        queue_size: int = 10_000,
        mask_text: bool = True,
        assignments_every_s: float = ASSIGNMENTS_EVERY_S,
        close_timeout_s: float = CLOSE_TIMEOUT_S,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self._service = service
        self._config = {**(connection(bootstrap) if bootstrap else {}), **(producer_config or {})}
        self._traces = Route(topic, partial(encode_trace, mask=mask_text))
        self._outcomes = Route(outcomes_topic, encode_outcome)
        self._counts = Route(assignments_topic, encode_count) if assignments_topic else None
        self._queue_size = queue_size
        self._every_s = assignments_every_s
        self._close_timeout_s = close_timeout_s
        self._begin()
        _open.add(self)

    def _begin(self) -> None:
        self._instance = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
        self._counters = Counters(self._queue_size)
        self._sender = Sender(self._config, self._counters, self._assignment_counts, self._every_s)

    def request(
        self,
        *,
        experiment: str | None = None,
        variant: str | None = None,
        assignments: Assignment | Iterable[Assignment] = (),
        unit_id: str | None = None,
        tenant: str | None = None,
        language: str | None = None,
        channel: str | None = None,
        **fields: Any,
    ) -> Request:
        """A context manager that measures a request and sends its trace when the block ends.

        experiment, variant  the usual case of one experiment, instead of `assignments`
        unit_id              randomisation unit, already pseudonymous
        tenant, language, channel  segments
        fields               further ones of schemas/trace.avsc: conversation_id, prompt_version, attributes, …
        """
        fields |= {"unit_id": unit_id, "tenant": tenant, "language": language, "channel": channel}
        request = Request(self, fields)
        if experiment is not None or variant is not None:
            request.assign(Assignment(experiment or "", variant or ""))
        if assignments != ():
            request.assign_all(assignments)
        return request

    def traced(self, **fields: Any) -> Callable[[F], F]:
        """A decorator that puts `request(**fields)` around each call of a function or coroutine.

        What differs by call is set inside: `current_request()` is the request. Raises TypeError for a generator.
        """
        return lambda function: traced(lambda: self.request(**fields), function)

    def record(self, **fields: Any) -> None:
        """Send a trace built by hand, by the fields of schemas/trace.avsc; id, time and service are filled in."""
        if "trace_id" not in fields:
            fields["trace_id"] = os.urandom(16).hex()
        if "at" not in fields:
            fields["at"] = self.clock.wall_us()
        self.send(fields)

    def send(self, fields: Fields) -> None:
        """Send a trace that has its id and its time. The dict is the tracer's from now on."""
        fields.setdefault("service", self._service)
        self._sender.offer(self._traces, fields)

    def outcome(self, context: str, name: str, value: float, *, kind: str = "score", source: str = "system") -> None:
        """Send a late fact about a trace.

        context  the request's `context`, however it came here
        kind     score | feedback | complaint | escalation | refusal | business | audit
        source   person, system, or judge with its version (judge:grader@3)
        """
        fields = {"context": context, "at": self.clock.wall_us(), "kind": kind}
        self._sender.offer(self._outcomes, {**fields, "name": name, "value": value, "source": source})

    def outcomes(self, context: str) -> Outcomes:
        """The same by kind: `tracer.outcomes(token).business("resolved", 1.0)`."""
        return Outcomes(self, context)

    @property
    def stats(self) -> Stats:
        return self._counters.snapshot()

    def flush(self, timeout_s: float = CLOSE_TIMEOUT_S) -> bool:
        """Wait until nothing is pending; False if the time was over first. For tests and jobs, not for requests."""
        return self._counters.wait_until_empty(timeout_s)

    def close(self, timeout_s: float | None = None) -> None:
        """Deliver what is pending within the time, count the rest as dropped, and end. Runs at exit by itself."""
        _open.discard(self)
        self._sender.close(self._close_timeout_s if timeout_s is None else timeout_s)

    def __enter__(self) -> Tracer:
        return self

    def __exit__(self, *_: object) -> None:
        """For jobs: what is pending is delivered before the block ends."""
        self.close()

    async def __aenter__(self) -> Tracer:
        return self

    async def __aexit__(self, *_: object) -> None:
        """As `with`, but the event loop runs on meanwhile."""
        await asyncio.to_thread(self.close)

    def count_assignment(self, assignment: Assignment) -> bool:
        """Count a request as begun in its variant; False where the assignment does not name both."""
        experiment, variant = assignment.experiment, assignment.variant
        if not (isinstance(experiment, str) and isinstance(variant, str) and experiment and variant):
            return False
        self._counters.begun(experiment, variant)
        self._sender.start()  # with the first request already: its trace may never come
        return True

    def count_invalid(self, reason: str) -> None:
        self._counters.invalid(reason)

    def _assignment_counts(self) -> list[Job]:
        if self._counts is None:
            return []
        common = {"service": self._service, "instance": self._instance, "at": self.clock.wall_us()}
        common |= {"interval_s": self._every_s}
        counted = sorted(self.stats.assignments.items())
        return [
            (self._counts, {**common, "experiment": experiment, "variant": variant, "count": count})
            for (experiment, variant), count in counted
        ]


def _close_all() -> None:
    for tracer in list(_open):
        tracer.close()


def _hold_for_fork() -> None:
    _fork.held = [tracer._sender for tracer in list(_open) if tracer._sender.hold()]


def _resume_in_parent() -> None:
    for sender in _fork.held:
        sender.resume()


def _begin_again_in_child() -> None:
    for tracer in _open:
        tracer._begin()


atexit.register(_close_all)
os.register_at_fork(before=_hold_for_fork, after_in_parent=_resume_in_parent, after_in_child=_begin_again_in_child)
