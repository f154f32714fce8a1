"""The chain of one run, from the journal: what was asked, found, ordered, answered, and still served after a stop."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stoploss.closing import RULE as WINDOWS
from stoploss.commands import Action
from stoploss.review.cells import Cells, segment_text, sentence_of
from stoploss.store.rows import CommandAck, CommandWithAcks, ExposuresAfterStop, TimelineEntry

MILLISECOND = timedelta(milliseconds=1)
CAUSES = frozenset({"finding", "request_handled"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conclusion stands: the ledger entry that led to it, and the journal entry that says it."""

    ledger_partition: int
    ledger_offset: int
    journal_number: int
    journal_entry_id: str


@dataclass(frozen=True, slots=True)
class RequestLine:
    """What a person or CI asked for, and the judge's last word on it."""

    at: datetime
    request_id: str
    action: str
    by: str
    accepted: bool
    reason: str
    place: Place


@dataclass(frozen=True, slots=True)
class EpochLine:
    at: datetime
    epoch: int
    exposure: float
    place: Place


@dataclass(frozen=True, slots=True)
class FindingLine:
    """A verdict that changed, with both numbers compared; None in a cell that is too small to be read."""

    at: datetime
    epoch: int
    rule: str
    metric: str | None
    segment: str | None
    verdict: str
    severity: str
    sentence: str
    observed: float | None
    bound: float | None
    n_control: int | None
    n_treatment: int | None
    hidden: bool
    place: Place


@dataclass(frozen=True, slots=True)
class AckLine:
    """A controller's answer; delay_ms is ledger time since the decision."""

    controller: str
    instance: str
    status: str
    reason: str
    at: datetime
    delay_ms: float


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command and what became of it.

    cause      journal entry id of the finding or request that led to it
    stored     False: the journal has it, the table of commands not yet; what only that table knows is then None
    signed_by  id of the signing key; None: not signed, or not stored
    """

    command_id: str
    run: int
    epoch: int
    sequence: int
    action: str
    release_variant: str
    exposure: float
    reason: str
    decided_at: datetime
    place: Place
    cause: str | None
    stored: bool
    stopped_segments: tuple[str, ...] | None
    controllers: tuple[str, ...] | None
    dry_run: bool | None
    times_sent: int | None
    signed_by: str | None
    acks: tuple[AckLine, ...]

    @property
    def unanswered(self) -> tuple[str, ...]:
        """Required controllers that have not applied it."""
        applied = {ack.controller for ack in self.acks if ack.status == "applied"}
        return tuple(name for name in self.controllers or () if name not in applied)


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """Rows that were not judged, by cause: the last count."""

    cause: str
    rows: int


def of_run(timeline: Iterable[TimelineEntry], run: int, *kinds: str) -> list[TimelineEntry]:
    return [entry for entry in timeline if entry.run == run and entry.kind in kinds]


def place_of(entry: TimelineEntry) -> Place:
    return Place(entry.ledger_partition, entry.ledger_offset, entry.number, entry.entry_id)


def conclusion_of(entry: TimelineEntry) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(entry.conclusion)
    return found


def requests(timeline: Sequence[TimelineEntry]) -> tuple[RequestLine, ...]:
    """All of them: what begins a run is asked for before the run has its number."""
    return tuple(_request(entry) for entry in timeline if entry.kind == "request_handled")


def _request(entry: TimelineEntry) -> RequestLine:
    said = conclusion_of(entry)
    return RequestLine(
        entry.at, said["request_id"], said["action"], said["by"], said["accepted"], said["reason"], place_of(entry)
    )


def epochs(timeline: Sequence[TimelineEntry], run: int) -> tuple[EpochLine, ...]:
    return tuple(
        EpochLine(entry.at, entry.epoch, conclusion_of(entry)["exposure"], place_of(entry))
        for entry in of_run(timeline, run, "epoch_opened")
    )


def findings(timeline: Sequence[TimelineEntry], run: int, cells: Cells) -> tuple[FindingLine, ...]:
    return tuple(_finding(entry, cells) for entry in of_run(timeline, run, "finding"))


def _finding(entry: TimelineEntry, cells: Cells) -> FindingLine:
    hidden = cells.hides(entry)
    return FindingLine(
        at=entry.at,
        epoch=entry.epoch,
        rule=entry.rule or "",
        metric=entry.metric,
        segment=segment_text(entry.segment_dimension, entry.segment_value),
        verdict=entry.verdict or "",
        severity=entry.severity or "",
        sentence=sentence_of(entry, cells),
        observed=None if hidden else entry.observed,
        bound=None if hidden else entry.bound,
        n_control=None if hidden else entry.n_control,
        n_treatment=None if hidden else entry.n_treatment,
        hidden=hidden,
        place=place_of(entry),
    )


def commands(
    timeline: Sequence[TimelineEntry],
    run: int,
    stored: Sequence[CommandWithAcks],
    signers: Mapping[str, str],
    cells: Cells,
) -> tuple[CommandLine, ...]:
    """Commands of a run in order, each with the journal entry that led to it.

    stored   what the table of commands holds
    signers  id of the signing key by command id
    """
    by_id = {held.command.command_id: held for held in stored}
    return tuple(
        _command(entry, _cause(timeline, entry), by_id.get(entry.command_id or ""), signers, cells)
        for entry in of_run(timeline, run, "command_issued")
    )


def _cause(timeline: Sequence[TimelineEntry], issued: TimelineEntry) -> TimelineEntry | None:
    """The last finding or request before a command that the same ledger entry led to."""
    here = (issued.ledger_partition, issued.ledger_offset)
    before = [
        entry
        for entry in timeline
        if entry.kind in CAUSES
        and (entry.ledger_partition, entry.ledger_offset) == here
        and entry.number < issued.number
    ]
    return before[-1] if before else None


def _command(
    issued: TimelineEntry,
    cause: TimelineEntry | None,
    held: CommandWithAcks | None,
    signers: Mapping[str, str],
    cells: Cells,
) -> CommandLine:
    said = conclusion_of(issued)
    command = held.command if held else None
    return CommandLine(
        command_id=said["command_id"],
        run=issued.run,
        epoch=issued.epoch,
        sequence=said["sequence"],
        action=said["action"],
        release_variant=said["release_variant"],
        exposure=said["exposure"],
        reason=_reason(said, cause, cells),
        decided_at=issued.at,
        place=place_of(issued),
        cause=cause.entry_id if cause else None,
        stored=command is not None,
        stopped_segments=tuple(command.stopped_segments) if command else None,
        controllers=tuple(command.controllers) if command else None,
        dry_run=command.dry_run if command else None,
        times_sent=command.times_sent if command else None,
        signed_by=signers.get(said["command_id"]) or None,
        acks=tuple(_ack(ack, issued.at) for ack in held.acks) if held else (),
    )


def _reason(said: Mapping[str, Any], cause: TimelineEntry | None, cells: Cells) -> str:
    """A command's reason repeats the finding's sentence, numbers and all."""
    if cause is None or not cells.hides(cause):
        return str(said["reason"])
    return f"{said['action']}: {sentence_of(cause, cells)}"


def _ack(ack: CommandAck, decided_at: datetime) -> AckLine:
    delay_ms = (ack.at - decided_at) / MILLISECOND
    return AckLine(ack.controller, ack.instance, ack.status, ack.reason, ack.at, delay_ms)


def exposures(counted: Iterable[ExposuresAfterStop], issued: Iterable[CommandLine]) -> tuple[ExposuresAfterStop, ...]:
    """The counts of these commands."""
    wanted = {command.command_id for command in issued}
    return tuple(count for count in counted if count.command_id in wanted)


def refused(timeline: Sequence[TimelineEntry]) -> tuple[RefusedLine, ...]:
    """Rows that were not judged since the experiment was registered, by cause."""
    last = {said["cause"]: said["rows"] for said in map(conclusion_of, _of_kind(timeline, "evidence_refused"))}
    return tuple(RefusedLine(cause, rows) for cause, rows in last.items())


def _of_kind(timeline: Sequence[TimelineEntry], kind: str) -> list[TimelineEntry]:
    return [entry for entry in timeline if entry.kind == kind]


def of_windows(findings: Sequence[FindingLine]) -> frozenset[str]:
    """Journal entries that say that windows close or open: what they order passes by itself."""
    return frozenset(line.place.journal_entry_id for line in findings if line.rule == WINDOWS)


def standing(issued: Sequence[CommandLine], findings: Sequence[FindingLine]) -> CommandLine | None:
    """The last command of a run that lowered or stopped something and still stands; None where none does.

    Windows that close decide nothing, and a throttle ends where exposure was raised above it since.
    """
    passing, found = of_windows(findings), list[CommandLine]()
    for command in issued:
        if command.dry_run or command.cause in passing:
            continue
        if command.action == Action.SET_EXPOSURE:
            found = [one for one in found if one.action != Action.THROTTLE or one.exposure >= command.exposure]
        else:
            found.append(command)
    return found[-1] if found else None
