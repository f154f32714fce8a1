"""The command that an incident is about: found by its id, with what led to it and where its story ends."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from stoploss.closing import RULE as WINDOWS
from stoploss.errors import StoplossError
from stoploss.review.chain import conclusion_of
from stoploss.store import queries
from stoploss.store.query import Query
from stoploss.store.rows import TimelineEntry

SHORTEST = 8
RAISES = "set_exposure"
_ID = re.compile(rf"[0-9a-f]{{{SHORTEST},64}}")
ABOUT_A_COMMAND = ("command_acked", "exposures_counted")


class UnknownCommand(StoplossError):
    """No journal has a command of that id, or several have."""


@dataclass(frozen=True, slots=True)
class IssuedCommand:
    experiment: str
    command_id: str


COMMANDS_BY_ID = Query(
    IssuedCommand,
    """
SELECT DISTINCT experiment, assumeNotNull(command_id) AS command_id
FROM journal_v
WHERE kind = 'command_issued' AND startsWith(ifNull(command_id, ''), {prefix:String})
ORDER BY experiment, command_id
LIMIT 9
""",
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A command and its place in the story of its experiment.

    issued  the journal entry that says so
    causes  the breaches that it answers: the one of the same ledger entry; of a person's command, all before it in
            its run
    end     the last journal entry that is about the command: an ack, or a count of what was served after it
    begin   ledger offset at which the run began; what came before was judged in another run
    """

    experiment: str
    command_id: str
    run: int
    issued: TimelineEntry
    causes: tuple[TimelineEntry, ...]
    end: TimelineEntry
    begin: int

    @property
    def action(self) -> str:
        return str(conclusion_of(self.issued)["action"])


def find(client: Client, what: str) -> IssuedCommand:
    """The one command whose id begins so; raises UnknownCommand."""
    if not _ID.fullmatch(what):
        raise UnknownCommand(
            f"{what!r} is no command id; give {SHORTEST} or more of its hex digits, as `stoploss explain` prints them"
        )
    found = COMMANDS_BY_ID.run(client, prefix=what)
    if not found:
        raise UnknownCommand(
            f"no recorded journal has a command {what}; `stoploss explain EXPERIMENT` prints the ids of its commands"
        )
    if len(found) > 1:
        named = ", ".join(f"{one.command_id[:16]} of {one.experiment}" for one in found)
        raise UnknownCommand(f"several commands begin with {what}: {named}; give more digits")
    return found[0]


def subject(client: Client, what: str) -> Subject:
    """Of a command's id, or the first digits of it; raises UnknownCommand."""
    found = find(client, what)
    return subject_of(found.experiment, found.command_id, queries.timeline(client, found.experiment))


def lowered(timeline: Sequence[TimelineEntry], rehearsed: Collection[str]) -> list[str]:
    """Ids of the commands that lowered or stopped something, in order; windows that close have shown no harm.

    rehearsed  ids of those that were dry runs
    """
    found, by_windows = [], -1
    for entry in timeline:
        if entry.kind == "finding":
            by_windows = entry.ledger_offset if entry.rule == WINDOWS else -1
        elif entry.kind == "command_issued" and entry.ledger_offset != by_windows:
            said = conclusion_of(entry)
            if said["action"] != RAISES and said["command_id"] not in rehearsed:
                found.append(said["command_id"])
    return found


def answered_harm(timeline: Sequence[TimelineEntry]) -> list[str]:
    """Ids of the commands that a breach led to, in order: both stand in the journal for the same ledger entry."""
    breaches = {entry.ledger_offset for entry in timeline if entry.kind == "finding" and entry.verdict == "breach"}
    issued = [entry for entry in timeline if entry.kind == "command_issued" and entry.ledger_offset in breaches]
    return [entry.command_id for entry in issued if entry.command_id]


def subject_of(experiment: str, command_id: str, timeline: Sequence[TimelineEntry]) -> Subject:
    """From the experiment's journal, in order; raises UnknownCommand where the command is not in it."""
    issued = next((e for e in timeline if e.kind == "command_issued" and e.command_id == command_id), None)
    if issued is None:
        raise UnknownCommand(f"the journal of {experiment!r} has no command {command_id}")
    about = [e for e in timeline if e.kind in ABOUT_A_COMMAND and e.command_id == command_id]
    return Subject(
        experiment=experiment,
        command_id=command_id,
        run=issued.run,
        issued=issued,
        causes=_causes(issued, timeline),
        end=max([issued, *about], key=lambda entry: entry.number),
        begin=min(entry.ledger_offset for entry in timeline if entry.run == issued.run),
    )


def _causes(issued: TimelineEntry, timeline: Sequence[TimelineEntry]) -> tuple[TimelineEntry, ...]:
    before = [
        entry
        for entry in timeline
        if entry.kind == "finding"
        and entry.verdict == "breach"
        and entry.run == issued.run
        and entry.number < issued.number
    ]
    here = [entry for entry in before if entry.ledger_offset == issued.ledger_offset]
    return tuple(here[-1:] or before)
