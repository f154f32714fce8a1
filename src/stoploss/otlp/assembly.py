"""Spans and log events of a trace come in several records, in any order: here they wait for one another.

A trace is whole once the span is there in which the request entered, for a process exports spans as they end and that
one ends last, once a model was called, and once an assignment is known. What is not whole waits `window_s` at most, and
no more than `waiting_max` spans wait together: then the oldest go first. What goes without an assignment is counted and
dropped (P4).

No clock in here: the time comes with each call. A source (a batch of records) is held as long as a part of it waits.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from stoploss.otlp.aliases import EVALUATIONS, FLAG_EVALUATIONS
from stoploss.otlp.assigning import Flags, Named, Place, resolved
from stoploss.otlp.evaluations import Evaluation, context_of, outcome_of, own_context
from stoploss.otlp.kinds import SIGNS
from stoploss.otlp.prices import PriceTable
from stoploss.otlp.requests import Record, request_of
from stoploss.otlp.spans import LogEvent, Span, is_trace_id
from stoploss.otlp.values import Values

V = TypeVar("V")

WINDOW_S = 10.0
"""Longer than the 5 s for which SDKs gather what they export."""

LOGGED_S = 900.0
"""A flag is evaluated when a request begins; its span comes when it has ended."""

MOST_WAITING_SPANS = 50_000
MOST_SPANS_OF_A_TRACE = 5_000
MOST_REMEMBERED = 65_536


@dataclass(slots=True)
class Part:
    """What one source has of a trace."""

    spans: list[Span] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)


@dataclass(slots=True)
class Waiting:
    """What has come of a trace that is not whole, by source."""

    since_s: float
    parts: dict[Hashable, Part] = field(default_factory=dict)
    named: list[Named] = field(default_factory=list)
    size: int = 0
    entered: bool = False
    generative: bool = False

    @property
    def spans(self) -> list[Span]:
        return [span for part in self.parts.values() for span in part.spans]


@dataclass(slots=True)
class Released:
    """What left the assembly in one call.

    traces, outcomes  whole records of the contract
    counts            spans, events and traces by what became of them
    unpriced          calls by the model that the table of prices lacks
    """

    traces: list[Record] = field(default_factory=list)
    outcomes: list[Record] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unpriced: Counter[str] = field(default_factory=Counter)


class Assembly:
    """Traces that wait, and what is remembered of those that went.

    flags    may be replaced at any time, as experiments come and go
    grace_s  how long a whole trace waits for spans of other processes; 0: not at all
    """

    def __init__(
        self,
        flags: Flags,
        prices: PriceTable,
        *,
        window_s: float = WINDOW_S,
        grace_s: float = 0.0,
        waiting_max: int = MOST_WAITING_SPANS,
    ) -> None:
        self.flags, self._prices = flags, prices
        self._window_s, self._grace_s, self._waiting_max = window_s, grace_s, waiting_max
        self._waiting: OrderedDict[bytes, Waiting] = OrderedDict()
        self._whole: OrderedDict[bytes, float] = OrderedDict()
        self._spans_waiting = 0
        self._logged: OrderedDict[bytes, tuple[float, list[Values]]] = OrderedDict()
        self._gone: OrderedDict[bytes, Record] = OrderedDict()
        self._held: Counter[Hashable] = Counter()

    # ---- what comes in -------------------------------------------------------------------------

    def take_spans(self, spans: Iterable[Span], source: Hashable, now_s: float) -> Released:
        """Spans of one record. Those of a trace that has gone are late: a request is judged once."""
        out = Released()
        touched: dict[bytes, Waiting] = {}
        for span in spans:
            if not is_trace_id(span.trace_id):
                out.counts["spans_without_trace"] += 1
            elif span.trace_id in self._gone:
                out.counts["spans_late"] += 1
            else:
                touched[span.trace_id] = self._add_span(span, source, now_s, out)
        for trace_id, waiting in touched.items():
            self._release_if_whole(trace_id, waiting, now_s, out)
        self._make_room(out)
        return out

    def take_logs(self, events: Iterable[LogEvent], source: Hashable, now_s: float) -> Released:
        """Events of one record of logs."""
        out = Released()
        for event in events:
            if not is_trace_id(event.trace_id):
                out.counts["events_without_trace"] += 1
            elif event.name in EVALUATIONS:
                self._take_evaluation(Evaluation(event.trace_id, event.at_ns, event.values), source, now_s, out)
            elif self.remember(event, now_s) and (waiting := self._waiting.get(event.trace_id)) is not None:
                self._release_if_whole(event.trace_id, waiting, now_s, out)
        return out

    def remember(self, event: LogEvent, now_s: float) -> bool:
        """Keeps a flag evaluation for the spans of its trace; False where the flag is no experiment's."""
        if event.name not in FLAG_EVALUATIONS or not self.flags.named(event.values):
            return False
        _, values = self._logged.setdefault(event.trace_id, (now_s, []))
        if event.values not in values and len(values) < MOST_SPANS_OF_A_TRACE:
            values.append(event.values)
        if len(self._logged) > MOST_REMEMBERED:
            self._logged.popitem(last=False)
        return True

    def expire(self, now_s: float) -> Released:
        """Lets go what has waited for as long as it may."""
        out = Released()
        while self._whole and _first(self._whole) <= now_s - self._grace_s:
            self._release(next(iter(self._whole)), out)
        while self._waiting and _first(self._waiting).since_s <= now_s - self._window_s:
            self._release(next(iter(self._waiting)), out)
        while self._logged and _first(self._logged)[0] <= now_s - LOGGED_S:
            self._logged.popitem(last=False)
        return out

    # ---- sources -------------------------------------------------------------------------------

    @property
    def waiting_spans(self) -> int:
        return self._spans_waiting

    def holds(self, source: Hashable) -> bool:
        """Whether a part of the source waits."""
        return source in self._held

    def forget(self, source: Hashable) -> None:
        """Drops what waits of a source that is read again by somebody else."""
        for trace_id in [trace_id for trace_id, waiting in self._waiting.items() if source in waiting.parts]:
            waiting = self._waiting[trace_id]
            dropped = len(waiting.parts.pop(source).spans)
            waiting.size -= dropped
            self._spans_waiting -= dropped
            if not waiting.parts:
                del self._waiting[trace_id]
                self._whole.pop(trace_id, None)
        del self._held[source]

    def _part(self, trace_id: bytes, source: Hashable, now_s: float) -> tuple[Waiting, Part]:
        waiting = self._waiting.get(trace_id)
        if waiting is None:
            waiting = self._waiting[trace_id] = Waiting(now_s)
        part = waiting.parts.get(source)
        if part is None:
            part = waiting.parts[source] = Part()
            self._held[source] += 1
        return waiting, part

    # ---- one trace -----------------------------------------------------------------------------

    def _add_span(self, span: Span, source: Hashable, now_s: float, out: Released) -> Waiting:
        waiting, part = self._part(span.trace_id, source, now_s)
        if waiting.size >= MOST_SPANS_OF_A_TRACE:
            out.counts["spans_too_many"] += 1
            return waiting
        part.spans.append(span)
        waiting.size += 1
        self._spans_waiting += 1
        waiting.entered = waiting.entered or span.enters
        waiting.generative = waiting.generative or not SIGNS.isdisjoint(span.values)
        waiting.named += self.flags.named_by(span)
        for event in span.events:
            if event.name in EVALUATIONS:
                part.evaluations.append(Evaluation(span.trace_id, event.at_ns, event.values))
        return waiting

    def _take_evaluation(self, evaluation: Evaluation, source: Hashable, now_s: float, out: Released) -> None:
        """At once where the trace has gone; else it waits for the trace."""
        if (context := self._gone.get(evaluation.trace_id)) is not None:
            _evaluate(evaluation, context, out)
        else:
            self._part(evaluation.trace_id, source, now_s)[1].evaluations.append(evaluation)

    def _release_if_whole(self, trace_id: bytes, waiting: Waiting, now_s: float, out: Released) -> None:
        """A trace that has entered without a sign of a model, and without an assignment, is let go at once: nearly all
        that a Collector sees is of that kind."""
        assigned = bool(waiting.named) or trace_id in self._logged
        if not waiting.entered or assigned != waiting.generative:
            return
        if assigned and self._grace_s > 0:
            self._whole.setdefault(trace_id, now_s)
        else:
            self._release(trace_id, out)

    def _make_room(self, out: Released) -> None:
        while self._spans_waiting > self._waiting_max:
            out.counts["traces_cut_short"] += 1
            self._release(next(iter(self._waiting)), out)

    def _release(self, trace_id: bytes, out: Released) -> None:
        waiting = self._waiting.pop(trace_id)
        self._whole.pop(trace_id, None)
        self._spans_waiting -= waiting.size
        context = self._request(trace_id, waiting, out) if waiting.size else None
        for source, part in waiting.parts.items():
            for evaluation in part.evaluations:
                _evaluate(evaluation, context or own_context(evaluation, self.flags), out)
            self._held[source] -= 1
            if not self._held[source]:
                del self._held[source]

    def _request(self, trace_id: bytes, waiting: Waiting, out: Released) -> Record | None:
        """The trace's record; gives what its outcomes must carry, None where it belongs to no experiment."""
        _, logged = self._logged.pop(trace_id, (0.0, []))
        spans = waiting.spans
        named = waiting.named + [(Place.LOG, each) for values in logged for each in self.flags.named(values)]
        assignments = resolved(named)
        if not assignments:
            out.counts["spans_unassigned"] += len(spans)
            return None
        request = request_of(spans, logged, assignments, self._prices)
        out.traces.append(request.record)
        out.counts["spans_assigned"] += len(spans)
        out.unpriced.update(request.unpriced)
        context = self._gone[trace_id] = context_of(request.record)
        if len(self._gone) > MOST_REMEMBERED:
            self._gone.popitem(last=False)
        return context


def _first(entries: OrderedDict[bytes, V]) -> V:
    return next(iter(entries.values()))


def _evaluate(evaluation: Evaluation, context: Record | None, out: Released) -> None:
    outcome = outcome_of(evaluation, context) if context is not None else None
    if outcome is not None:
        out.outcomes.append(outcome)
        out.counts["evaluations_taken"] += 1
    else:
        out.counts["evaluations_unassigned" if context is None else "evaluations_unusable"] += 1
