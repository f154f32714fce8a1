"""Traces for people to read: a representative sample of both arms, and beside it those that were evidence of harm.

The sample is drawn by place and seed alone (store/review_reads.py), so it can be drawn again, and what a trace says has
no part in it. Texts were masked when they were stored and are masked once more; units, conversations, segments and
attributes are left out, for a trace is a cell of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.emit.masking import mask_text
from stoploss.incidents.traces import Shown, Trace
from stoploss.review.words import count, moment, quantity
from stoploss.store.review_reads import SampledTrace

SEED = 1
OF_EACH_ARM = 6
MOST_HARMFUL = 12
LONGEST_TEXT = 600


@dataclass(frozen=True, slots=True)
class TraceLine:
    """A trace as people read it.

    place  topic, partition and offset of its record
    facts  what was measured of it, each with its name
    why    it was evidence of harm; None: it was drawn
    """

    trace_id: str
    at: datetime
    variant: str
    place: str
    facts: tuple[str, ...]
    input_text: str | None
    output_text: str | None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """Of one arm: how many were drawn, from how many."""

    variant: str
    traces: int
    of: int


@dataclass(frozen=True, slots=True)
class Samples:
    """
    seed     of the draw
    drawn    None: no traces were asked for
    missing  why there are no traces of harm, or fewer than there were
    """

    seed: int = SEED
    drawn: tuple[Drawn, ...] = ()
    representative: tuple[TraceLine, ...] = ()
    harmful: tuple[TraceLine, ...] = ()
    missing: tuple[str, ...] = ()


def drawn_line(trace: SampledTrace) -> TraceLine:
    return TraceLine(
        trace_id=trace.trace_id,
        at=trace.at,
        variant=trace.variant,
        place=f"{trace.topic}, partition {trace.partition}, offset {trace.offset}",
        facts=tuple(_facts(trace)),
        input_text=readable(trace.input_text),
        output_text=readable(trace.output_text),
    )


def _facts(trace: SampledTrace) -> Iterator[str]:
    yield from (f"{name} {value}" for name, value in (("model", trace.model), ("prompt", trace.prompt)) if value)
    yield from _numbers(trace.latency_ms, trace.cost_usd, trace.output_tokens)
    yield from (f"error {value}" for value in (trace.error_type,) if value)
    yield from (f"ended by {value}" for value in (trace.finish_reason,) if value)
    if trace.steps:
        yield f"steps: {', '.join(trace.steps)}"


def _numbers(latency_ms: float | None, cost_usd: float | None, output_tokens: int | None) -> Iterator[str]:
    if latency_ms is not None:
        yield quantity(latency_ms, "ms")
    if cost_usd is not None:
        yield quantity(cost_usd, "USD")
    if output_tokens is not None:
        yield f"{count(output_tokens)} output tokens"


def harm_lines(experiment: str, shown: Sequence[Shown]) -> tuple[TraceLine, ...]:
    """The first MOST_HARMFUL that are stored, each once."""
    stored = {one.trace["trace_id"]: one for one in reversed(shown) if one.trace is not None}
    first = sorted(stored.values(), key=shown.index)[:MOST_HARMFUL]
    return tuple(_harm_line(experiment, one, one.trace) for one in first if one.trace is not None)


def _harm_line(experiment: str, one: Shown, trace: Trace) -> TraceLine:
    variants = [found["variant"] for found in trace.get("assignments") or [] if found["experiment"] == experiment]
    facts = [f"{name} {trace[name]}" for name in ("model",) if trace.get(name)]
    facts += _numbers(trace.get("latency_ms"), trace.get("cost_usd"), trace.get("output_tokens"))
    facts += [f"error {trace['error_type']}"] if trace.get("error_type") else []
    return TraceLine(
        trace_id=trace["trace_id"],
        at=moment(trace["at"]),
        variant=variants[0] if variants else "not stored",
        place=f"{one.row.source.topic}, partition {one.row.source.partition}, offset {one.row.offset}",
        facts=tuple(facts),
        input_text=readable(trace.get("input_text")),
        output_text=readable(trace.get("output_text")),
        why=one.row.why,
    )


def readable(text: str | None) -> str | None:
    """Masked, and cut where it is long.

    >>> readable("mail ann@example.org"), readable("")
    ('mail [masked:email]', None)
    """
    if not text:
        return None
    masked = mask_text(text)
    return masked if len(masked) <= LONGEST_TEXT else f"{masked[:LONGEST_TEXT]}…"
