"""The story of a run as a timeline, and its last stop as five links: evidence, verdict, command, ack, last exposure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.review.chain import CommandLine, FindingLine, Place, of_windows, standing
from stoploss.review.explanation import Explanation
from stoploss.review.lineage import NOT_STORED, Lineage
from stoploss.review.words import count, duration, number, share
from stoploss.store.rows import ExposuresAfterStop

RAISES = "set_exposure"
STEPS = {"ramp": "The ramp", "windows": "The windows"}
"""Rules that tell where exposure goes by itself, and judge nothing."""
MOST_EVENTS = 200


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the timeline.

    kind    request, epoch, ramp, evidence, verdict, command, ack, exposure or blind
    title   in a few words; sentence: in full; details: what stands behind it
    colour  of what it means: good, warning, bad or quiet
    place   in the journal; None: it is told by another line's place
    """

    at: datetime
    kind: str
    title: str
    sentence: str
    details: tuple[str, ...]
    colour: str
    place: Place | None
    rank: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Link:
    """One of the five: what it is, when, and how long after the one before; is_open: it has not happened yet."""

    name: str
    text: str
    at: datetime | None
    after_ms: float | None
    is_open: bool


def timeline(told: Explanation) -> tuple[Event, ...]:
    """Newest first, the newest MOST_EVENTS; what one journal entry led to stands above it."""
    passing = of_windows(told.findings)
    events = [
        *_requests(told),
        *_epochs(told),
        *(event for lineage in told.lineage for event in _evidence(told, lineage)),
        *map(_finding, told.findings),
        *(event for command in told.commands for event in _command(command, passing)),
        *(event for counted in told.exposures for event in _exposure(told, counted)),
        *_blind(told),
    ]
    return tuple(sorted(events, key=lambda event: event.rank, reverse=True)[:MOST_EVENTS])


def _requests(told: Explanation) -> Iterator[Event]:
    for line in told.requests:
        word = "accepted" if line.accepted else "refused"
        yield Event(
            line.at,
            "request",
            f"{line.by} asked for {line.action}: {word}",
            line.reason,
            (),
            "quiet" if line.accepted else "warning",
            line.place,
            _rank(line.place),
        )


def _epochs(told: Explanation) -> Iterator[Event]:
    for line in told.epochs:
        title = f"Epoch {line.epoch} at {share(line.exposure)} exposure"
        text = "From here on the variants are compared anew."
        yield Event(line.at, "epoch", title, text, (), "quiet", line.place, _rank(line.place))


def _evidence(told: Explanation, lineage: Lineage) -> Iterator[Event]:
    finding = next((line for line in told.findings if line.place == lineage.place), None)
    if finding is None or finding.rule in STEPS:
        return
    yield Event(
        finding.at,
        "evidence",
        "The evidence that tipped it",
        evidence_text(lineage),
        tuple(
            f"trace {trace.trace_id or 'not stored'}: {trace.topic}, partition {trace.partition}, offset {trace.offset}"
            for trace in lineage.tripped
        ),
        "quiet",
        None,
        (finding.place.journal_number, -1),
    )


def evidence_text(lineage: Lineage) -> str:
    """What the ledger entry behind a verdict carried."""
    if lineage.fact == NOT_STORED:
        return "Its ledger entry is not stored in ClickHouse (yet, or any more)."
    if not lineage.ranges:
        return f"A {lineage.fact.replace('_', ' ')}: the verdict rests on all evidence of the run before it."
    return "; ".join(
        f"{count(found.traces)} traces of {found.topic}, partition {found.partition}, offsets {found.first_offset} to "
        f"{found.last_offset}"
        for found in lineage.ranges
    )


def _finding(line: FindingLine) -> Event:
    if line.rule in STEPS:
        colour = "quiet" if line.severity == "info" else "warning"
        return Event(line.at, "ramp", STEPS[line.rule], line.sentence, (), colour, line.place, _rank(line.place))
    return _verdict(line)


def _verdict(line: FindingLine) -> Event:
    where = f" for {line.segment}" if line.segment else ""
    compared = (
        ()
        if line.hidden
        else (
            f"compared: {number(line.observed)} against {number(line.bound)}; "
            f"{count(line.n_control)} control and {count(line.n_treatment)} treatment traces",
        )
    )
    return Event(
        line.at,
        "verdict",
        f"{line.verdict}: {line.metric or line.rule}{where}",
        line.sentence,
        compared,
        _severity(line),
        line.place,
        _rank(line.place),
    )


def _severity(line: FindingLine) -> str:
    if line.verdict == "breach":
        return "bad" if line.severity == "page" else "warning"
    return {"safe": "good", "differs": "warning"}.get(line.verdict, "quiet")


def _command(line: CommandLine, passing: frozenset[str]) -> Iterator[Event]:
    lowers = line.action != RAISES and line.cause not in passing
    signed = f"signed by key {line.signed_by}" if line.signed_by else "signature not stored"
    title = f"Command: {line.action.replace('_', ' ')} to {share(line.exposure)}"
    details = (f"{line.command_id[:12]}, sequence {line.sequence}, {signed}",)
    yield Event(
        line.decided_at,
        "command",
        title + (" (dry run)" if line.dry_run else ""),
        line.reason,
        details,
        "bad" if lowers else "quiet",
        line.place,
        _rank(line.place),
    )
    for index, ack in enumerate(line.acks, start=1):
        yield Event(
            ack.at,
            "ack",
            f"{ack.controller}: {ack.status} after {duration(ack.delay_ms)}",
            ack.reason or f"instance {ack.instance or 'unnamed'}",
            (),
            "good" if ack.status == "applied" else "quiet",
            None,
            (line.place.journal_number, index),
        )


def _exposure(told: Explanation, counted: ExposuresAfterStop) -> Iterator[Event]:
    command = next((line for line in told.commands if line.command_id == counted.command_id), None)
    if command is None:
        return
    took = ""
    if counted.harm_to_last_ms is not None:
        took = f"{duration(counted.harm_to_last_ms)} from the first harmful trace to the last exposure."
    yield Event(
        counted.last_at or command.decided_at,
        "exposure",
        "The last exposure" if counted.last_at else "No exposure after the stop",
        f"{count(counted.in_flight)} requests were in flight at the stop, {count(counted.after_stop)} began after it. "
        + took,
        (),
        "quiet",
        None,
        (command.place.journal_number, len(command.acks) + 1),
    )


def _blind(told: Explanation) -> Iterator[Event]:
    for line in told.blind:
        over = f"over after {duration((line.until - line.since).total_seconds() * 1_000)}" if line.until else "not over"
        yield Event(
            line.since,
            "blind",
            f"The monitor was blind: {over}",
            line.reason,
            (),
            "warning" if line.until else "bad",
            line.place,
            _rank(line.place),
        )


def _rank(place: Place) -> tuple[int, int]:
    return place.journal_number, 0


# ---- the last stop -------------------------------------------------------------------------------


def last_stop(told: Explanation) -> CommandLine | None:
    """The command that lowered exposure last in this run and still stands; None where none does."""
    return standing(told.commands, told.findings)


def links(told: Explanation, stop: CommandLine) -> tuple[Link, ...]:
    """Evidence, verdict, command, ack and last exposure of a stop; what did not happen yet says so."""
    finding = next((line for line in told.findings if line.place.journal_entry_id == stop.cause), None)
    counted = next((line for line in told.exposures if line.command_id == stop.command_id), None)
    applied = next((ack for ack in stop.acks if ack.status == "applied"), None)
    first_harm_at = counted.first_harm_at if counted else None
    last_at = counted.last_at if counted else None
    found = [
        ("Evidence", "first harmful trace" if first_harm_at else _origin(told, stop, finding), first_harm_at),
        ("Verdict", _short(finding), finding.at if finding else None),
        ("Command", f"{stop.action.replace('_', ' ')} to {share(stop.exposure)}", stop.decided_at),
        ("Ack", f"applied by {applied.controller}" if applied else _unanswered(stop), applied.at if applied else None),
        ("Last exposure", _exposed(counted), last_at),
    ]
    waited_for = {"Ack": bool(stop.unanswered), "Last exposure": counted is None}
    return tuple(_spaced(found, waited_for))


def _spaced(found: Sequence[tuple[str, str, datetime | None]], waited_for: Mapping[str, bool]) -> Iterator[Link]:
    before: datetime | None = None
    for name, text, at in found:
        after_ms = (at - before).total_seconds() * 1_000 if at and before else None
        yield Link(name, text, at, after_ms, waited_for.get(name, False))
        before = at or before


def _origin(told: Explanation, stop: CommandLine, finding: FindingLine | None) -> str:
    if finding is None:
        asked = next((line for line in told.requests if line.place.journal_entry_id == stop.cause), None)
        return f"asked for by {asked.by}" if asked else "asked for by a person"
    return "all traces of the run so far"


def _short(finding: FindingLine | None) -> str:
    return f"{finding.verdict}: {finding.metric or finding.rule}" if finding else "a person decided"


def _unanswered(stop: CommandLine) -> str:
    return f"waiting for {', '.join(stop.unanswered)}" if stop.unanswered else "no controller has to answer"


def _exposed(counted: ExposuresAfterStop | None) -> str:
    if counted is None:
        return "not counted yet"
    return f"{count(counted.in_flight)} in flight, {count(counted.after_stop)} begun after"
