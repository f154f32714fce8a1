"""A post-mortem: what happened, how it was contained, what contributed, what is done about it, and is it closed.

Everything but the last three is read off the record. Factors, remedies and the conclusion are people's words, each a
fact of the ledger with its author.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from stoploss.experiment import Experiment
from stoploss.followup import (
    CasesDeclined,
    CasesPromoted,
    FactorNoted,
    IncidentClosed,
    IncidentOpened,
    RemedyAgreed,
    RemedyDone,
)
from stoploss.incidents.containment import Containment, containment
from stoploss.incidents.facts import OnRecord
from stoploss.incidents.subject import Subject
from stoploss.review import chain
from stoploss.review.cells import Cells, cells_of
from stoploss.review.chain import CommandLine
from stoploss.review.words import count, share
from stoploss.spec.variants import Variant
from stoploss.store.rows import CommandWithAcks, ExposuresAfterStop, HiddenCell, TimelineEntry
from stoploss.suppression import MINIMUM_CELL

Standing = Literal["not opened", "open", "closed"]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened; at is ledger time, and `place` the journal entry that says it, if one does."""

    at: datetime
    what: str
    place: int | None


@dataclass(frozen=True, slots=True)
class Factor:
    """by is None for what the record itself shows."""

    text: str
    by: str | None


@dataclass(frozen=True, slots=True)
class Remedy:
    """done_at is None while nobody has said that it is done."""

    remedy: str
    what: str
    owner: str
    due: date
    done_at: datetime | None
    how: str | None
    overdue: bool


@dataclass(frozen=True, slots=True)
class Promotion:
    """Harm that became evaluation cases, or a person's word that it will not."""

    at: datetime
    by: str
    evaluation_set: str | None
    version: str | None
    cases: int
    declined_because: str | None


@dataclass(frozen=True, slots=True)
class PostMortem:
    experiment: str
    owner: str | None
    command_id: str
    action: str
    run: int
    reason: str
    standing: Standing
    summary: str | None
    opened_by: str | None
    conclusion: str | None
    containment: Containment
    timeline: tuple[Moment, ...]
    factors: tuple[Factor, ...]
    remedies: tuple[Remedy, ...]
    promotions: tuple[Promotion, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """What a post-mortem is made of, as the store gives it; of every run.

    hidden  cells that measures did not show
    """

    timeline: Sequence[TimelineEntry]
    commands: Sequence[CommandWithAcks]
    exposures: Sequence[ExposuresAfterStop]
    records: Sequence[OnRecord]
    hidden: Sequence[HiddenCell] = ()


def postmortem(subject: Subject, spec: Experiment | None, rows: Rows, today: date) -> PostMortem:
    """
    spec   in force at the command; None: this version cannot read it
    today  remedies that were due before it are overdue
    """
    cells = cells_of(spec.spec.privacy.minimum_cell if spec else MINIMUM_CELL, rows.hidden)
    issued = chain.commands(rows.timeline, subject.run, rows.commands, {}, cells)
    command = next(line for line in issued if line.command_id == subject.command_id)
    mine = [fact for fact in rows.records if getattr(fact.said, "command_id", None) == subject.command_id]
    opened = _last(mine, IncidentOpened)
    closed = _last(mine, IncidentClosed)
    return PostMortem(
        experiment=subject.experiment,
        owner=spec.metadata.owner if spec else None,
        command_id=subject.command_id,
        action=command.action,
        run=subject.run,
        reason=command.reason,
        standing=_standing(mine),
        summary=opened.said.summary if opened and isinstance(opened.said, IncidentOpened) else None,
        opened_by=opened.by if opened else None,
        conclusion=closed.said.conclusion if closed and isinstance(closed.said, IncidentClosed) else None,
        containment=containment(command, rows.exposures, spec),
        timeline=tuple(sorted(_timeline(subject, rows, mine, issued, cells), key=lambda moment: moment.at)),
        factors=(*_shown_factors(spec), *_noted(mine)),
        remedies=remedies(mine, today),
        promotions=promotions(subject.command_id, rows.records),
    )


def _last(facts: Iterable[OnRecord], kind: type) -> OnRecord | None:
    return next((fact for fact in reversed(list(facts)) if isinstance(fact.said, kind)), None)


def _standing(mine: Sequence[OnRecord]) -> Standing:
    """An incident that was closed may be opened again."""
    last = _last(mine, IncidentOpened | IncidentClosed)  # type: ignore[arg-type]
    if last is None:
        return "not opened"
    return "open" if isinstance(last.said, IncidentOpened) else "closed"


# ---- what happened ---------------------------------------------------------------------------------


def _timeline(
    subject: Subject, rows: Rows, mine: Sequence[OnRecord], issued: Sequence[CommandLine], cells: Cells
) -> Iterator[Moment]:
    """Of the run, from the request that began it to the end of the incident, and what people did about it since."""
    run, end = subject.run, subject.end.number
    upto = [entry for entry in rows.timeline if entry.ledger_offset >= subject.begin and entry.number <= end]
    for request in chain.requests(upto):
        word = "" if request.accepted else ", refused"
        yield Moment(request.at, f"{request.action} asked for by {request.by}{word}", request.place.journal_number)
    for epoch in chain.epochs(upto, run):
        what = f"epoch {epoch.epoch} opened at {share(epoch.exposure)} exposure"
        yield Moment(epoch.at, what, epoch.place.journal_number)
    for finding in chain.findings(upto, run, cells):
        yield Moment(finding.at, f"{finding.verdict}: {finding.sentence}", finding.place.journal_number)
    for command in issued:
        if command.place.journal_number <= end:
            yield from _of_command(command)
    yield from _of_counts(upto, subject.command_id)
    yield from (Moment(fact.at, _said(fact), None) for fact in mine)


def _of_command(command: CommandLine) -> Iterator[Moment]:
    what = f"{command.action} issued (sequence {command.sequence}, exposure {share(command.exposure)})"
    yield Moment(command.decided_at, what, command.place.journal_number)
    for ack in command.acks:
        who = f"{ack.controller}/{ack.instance}" if ack.instance else ack.controller
        why = f" ({ack.reason})" if ack.reason else ""
        yield Moment(ack.at, f"{who}: {ack.status} {command.action}{why}", None)


def _of_counts(upto: Sequence[TimelineEntry], command_id: str) -> Iterator[Moment]:
    for entry in upto:
        if entry.kind == "exposures_counted" and entry.command_id == command_id:
            said = chain.conclusion_of(entry)
            before, after = count(said["in_flight"]), count(said["after_stop"])
            what = f"exposures counted: {before} in flight at the decision, {after} begun after it"
            yield Moment(entry.at, what, entry.number)


def _said(fact: OnRecord) -> str:
    match fact.said:
        case IncidentOpened(summary=summary):
            return f"incident opened by {fact.by}: {summary}"
        case FactorNoted(text=text):
            return f"factor noted by {fact.by}: {text}"
        case RemedyAgreed() as agreed:
            return f"remedy {agreed.remedy} agreed: {agreed.what} ({agreed.owner}, due {agreed.due})"
        case RemedyDone() as done:
            return f"remedy {done.remedy} done, says {fact.by}: {done.how}"
        case IncidentClosed(conclusion=conclusion):
            return f"incident closed by {fact.by}: {conclusion}"
        case other:
            return f"{other.kind} by {fact.by}"


# ---- why, and what is done about it ----------------------------------------------------------------


def _noted(mine: Iterable[OnRecord]) -> Iterator[Factor]:
    yield from (Factor(fact.said.text, fact.by) for fact in mine if isinstance(fact.said, FactorNoted))


def _shown_factors(spec: Experiment | None) -> Iterator[Factor]:
    """What the treatment was, where control was something else."""
    if spec is None:
        return
    before, after = (_made_of(variant) for variant in spec.arms)
    for name, value in after.items():
        if value != before[name]:
            yield Factor(f"{name} differed: {before[name] or 'none'} in control, {value or 'none'} in treatment", None)


def _made_of(variant: Variant) -> dict[str, str]:
    return {
        "model": variant.model or "",
        "prompt": variant.prompt or variant.prompt_hash or "",
        "routing": variant.routing or "",
        "tools": ", ".join(tool.name for tool in variant.tools),
        "MCP servers": ", ".join(variant.mcp_servers),
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(variant.versions.items())),
        "data classes": ", ".join(variant.data_classes),
    }


def remedies(mine: Iterable[OnRecord], today: date) -> tuple[Remedy, ...]:
    """In the order in which they were agreed; an id that was done may be agreed on again."""
    found: list[Remedy] = []
    for fact in mine:
        said = fact.said
        if isinstance(said, RemedyAgreed):
            late = said.due < today
            found.append(Remedy(said.remedy, said.what, said.owner, said.due, None, None, late))
        elif isinstance(said, RemedyDone):
            at = next(i for i, one in enumerate(found) if one.remedy == said.remedy and one.done_at is None)
            was = found[at]
            found[at] = Remedy(was.remedy, was.what, was.owner, was.due, fact.at, said.how, overdue=False)
    return tuple(found)


def promotions(command_id: str, records: Iterable[OnRecord]) -> tuple[Promotion, ...]:
    """What became of the harm of a command as evaluation cases."""
    return tuple(_promotion(fact) for fact in records if command_id in getattr(fact.said, "command_ids", ()))


def _promotion(fact: OnRecord) -> Promotion:
    said = fact.said
    if isinstance(said, CasesPromoted):
        return Promotion(fact.at, fact.by, said.evaluation_set, said.version, len(said.cases), None)
    assert isinstance(said, CasesDeclined)
    return Promotion(fact.at, fact.by, None, None, 0, said.why)
