"""An explanation as lines that fit one screen; what is left out is counted and stands in --json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from stoploss.review.blindness import BlindLine
from stoploss.review.chain import AckLine, CommandLine, EpochLine, FindingLine, Place, RequestLine
from stoploss.review.explanation import Explanation
from stoploss.review.lineage import NOT_STORED, Lineage, traces_sql
from stoploss.review.words import count, duration, listed, number, share, utc
from stoploss.store.rows import ExposuresAfterStop

LINES = 4
ID_DIGITS = 12
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    lines: tuple[str, ...]


def sections(told: Explanation, database: str) -> Iterator[Section]:
    """In the order in which things happened.

    database  in which the statements that show traces look
    """
    yield Section("Requests", _last(told.requests, _request, "no request is recorded"))
    if amended := [line for line in told.requests if line.action == "amend" and line.accepted]:
        yield Section("Amended since it was registered", _last(amended, _request, ""))
    yield Section("Epochs", _last(told.epochs, _epoch, "no epoch has opened: no variant is compared yet"))
    yield Section("Findings", _last(told.findings, _finding, "none: no verdict has changed in this run"))
    if told.recommended:
        yield Section("Recommendation", (f"{utc(told.recommended.at)}  {told.recommended.sentence}",))
    yield Section("Commands", _last(told.commands, _command, "none in this run"))
    if told.exposures:
        yield Section("Exposures after the stop", _last(told.exposures, _exposures, ""))
    if told.refused:
        yield Section("Not judged", tuple(f"{count(line.rows)} rows: {line.cause}" for line in told.refused))
    if told.blind:
        yield Section("Blind", _last(told.blind, _blind, ""))
    yield Section("Traces behind it", tuple(_behind(told, database)))


def headline(told: Explanation) -> str:
    stopped = f" · stopped segments: {listed(told.stopped_segments)}" if told.stopped_segments else ""
    return (
        f"{told.experiment}: {told.lifecycle} · run {told.run}, epoch {told.epoch} · exposure {share(told.exposure)} · "
        f"release variant {told.release_variant}{stopped} · since {utc(told.changed_at)}"
    )


def _last(items: Sequence[Item], lines_of: Callable[[Item], Iterator[str]], none: str) -> tuple[str, ...]:
    shown = [line for item in items[-LINES:] for line in lines_of(item)]
    left_out = len(items) - LINES
    more = [f"({left_out} earlier: --json)"] if left_out > 0 else []
    return tuple([*more, *shown] or [none])


def _blind(line: BlindLine) -> Iterator[str]:
    until = f"until {utc(line.until)}" if line.until else "and not over"
    yield f"{utc(line.since)}  {until}: {line.reason}"


def _request(line: RequestLine) -> Iterator[str]:
    word = "accepted" if line.accepted else "refused"
    yield f"{utc(line.at)}  {line.action} by {line.by}: {word} ({line.reason})  [{_where(line.place)}]"


def _epoch(line: EpochLine) -> Iterator[str]:
    yield f"{utc(line.at)}  epoch {line.epoch} at {share(line.exposure)} exposure  [{_where(line.place)}]"


def _finding(line: FindingLine) -> Iterator[str]:
    yield f"{utc(line.at)}  {line.verdict} ({line.severity}): {line.sentence}"
    yield f"    compared: {_compared(line)}  [{_where(line.place)}]"


def _compared(line: FindingLine) -> str:
    if line.hidden:
        return "hidden"
    traces = f"{count(line.n_control)} control and {count(line.n_treatment)} treatment"
    return f"{number(line.observed)} against {number(line.bound)}; n = {traces}"


def _command(line: CommandLine) -> Iterator[str]:
    dry = " (dry run)" if line.dry_run else ""
    signed = f"signed by key {line.signed_by}" if line.signed_by else "signature not stored"
    if not line.stored:
        signed = "published, but not stored yet"
    again = f", sent {line.times_sent} times" if (line.times_sent or 0) > 1 else ""
    yield f"{utc(line.decided_at)}  {line.action}{dry}, sequence {line.sequence}: exposure {share(line.exposure)}"
    yield f"    {line.command_id[:ID_DIGITS]}… {signed}{again}  [{_where(line.place)}]"
    yield f"    {line.reason}"
    yield f"    {_answers(line)}"


def _answers(line: CommandLine) -> str:
    answers = [_ack(ack) for ack in line.acks] + [f"{name}: not applied yet" for name in line.unanswered]
    return "; ".join(answers) or "no controller has to answer, and none did"


def _ack(ack: AckLine) -> str:
    who = f"{ack.controller}/{ack.instance}" if ack.instance else ack.controller
    why = f" ({ack.reason})" if ack.reason else ""
    return f"{who}: {ack.status} after {duration(ack.delay_ms)}{why}"


def _exposures(counted: ExposuresAfterStop) -> Iterator[str]:
    last = f", the last at {utc(counted.last_at)}" if counted.last_at else ""
    took = f", {duration(counted.harm_to_last_ms)} from it to the last exposure"
    first = f"; first harm {utc(counted.first_harm_at)}{took}" if counted.first_harm_at else ""
    yield (
        f"{count(counted.in_flight)} in flight at the decision, {count(counted.after_stop)} begun after it{last}{first}"
    )


def _where(place: Place) -> str:
    journal = f"journal {place.journal_number} {place.journal_entry_id[:ID_DIGITS]}…"
    return f"ledger {place.ledger_partition}/{place.ledger_offset}, {journal}"


def _behind(told: Explanation, database: str) -> Iterator[str]:
    if not told.lineage:
        yield "no command of this run came from a finding"
    for lineage in told.lineage:
        yield from _lineage(lineage, database)


def _lineage(lineage: Lineage, database: str) -> Iterator[str]:
    at = f"ledger {lineage.place.ledger_partition}/{lineage.place.ledger_offset}"
    if lineage.fact == NOT_STORED:
        yield f"{at}: the entry is not stored in ClickHouse (yet, or any more)"
    elif not lineage.ranges:
        yield f"{at} tipped it, a {lineage.fact}: the verdict rests on all evidence of the run before it"
    for traces in lineage.ranges:
        yield (
            f"{at} tipped it: {count(traces.traces)} traces from {traces.topic}, partition {traces.partition}, "
            f"offsets {traces.first_offset} to {traces.last_offset}"
        )
    for tripped in lineage.tripped:
        name = tripped.trace_id or "not stored"
        yield f"    tripped by trace {name}: {tripped.topic}, partition {tripped.partition}, offset {tripped.offset}"
    if looked_at := (lineage.tripped or lineage.ranges):
        yield f"    see: {traces_sql(looked_at[0], database)}"
