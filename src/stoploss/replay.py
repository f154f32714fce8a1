"""Replay: the judge over a stored ledger, then a comparison with the stored journal. Same rules, same bytes.

A ledger may have been judged by several versions, one after the other: each says so in the ledger (`JudgeVersion`) when
it takes over. What this version must reproduce are its own spans; those of others are compared too, and a difference
there says that the verdicts have changed between the two. What a version left unread when it ended stands in its span,
although its successor judged it: a ledger does not say how far its reader was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile, zip_longest
from typing import Literal

from stoploss import journal, ledger
from stoploss.commands import Micros
from stoploss.errors import WireError
from stoploss.journal import JournalEntry
from stoploss.ledger import Entry, JudgeVersion
from stoploss.monitor import step
from stoploss.outputs import JournalOutput, Output
from stoploss.state import PartitionState

SpanOutcome = Literal["reproduced", "differs", "undecided"]


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """A ledger record as it was stored: where it stood, the broker's time, and its exact bytes."""

    partition: int
    offset: int
    at: Micros
    value: bytes


@dataclass(frozen=True, slots=True)
class Recorded:
    """One experiment as it was stored, wherever it is read from.

    partition  of the ledger; all its experiments are folded, for a tick speaks to all of them at once
    entries    the ledger partition from its first entry on; read once
    journal    the experiment's entries as stored, by number
    source     where it was read, in words
    """

    experiment: str
    partition: int
    entries: Iterable[StoredEntry]
    journal: Sequence[bytes]
    source: str


@dataclass(frozen=True, slots=True)
class Difference:
    """The first entry of a span that differs; expected as stored, found as replayed; None where one side has none."""

    number: int
    expected: str | None
    found: str | None


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the ledger that one version judged.

    version   None where the ledger names none
    mine      this version is held to it: its own, or nobody's by name
    first_offset  of the ledger
    entries   of the stored journal that the stretch led to
    outcome   "undecided": it differs, but so does a span before it, and with it the state that this one began with
    """

    version: JudgeVersion | None
    mine: bool
    first_offset: int
    entries: int
    outcome: SpanOutcome
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class Reproduction:
    """How a replayed journal of one experiment compares with the stored one."""

    experiment: str
    stored: int
    replayed: int
    spans: tuple[Span, ...]

    @property
    def identical(self) -> bool:
        """Every entry, whoever judged it."""
        return all(span.outcome == "reproduced" for span in self.spans)

    @property
    def holds(self) -> bool:
        """This version has reproduced what it judged itself."""
        return not any(span.mine and span.outcome == "differs" for span in self.spans)


def judged(
    entries: Iterable[StoredEntry], state: PartitionState, control_topic: str
) -> Iterator[tuple[Entry, list[Output]]]:
    """Folds stored entries into the state, and gives each with what follows from it."""
    for stored in entries:
        try:
            entry = Entry(state.partition, stored.offset, stored.at, ledger.decode(stored.value))
            outputs = step(state, entry, control_topic)
        except WireError:  # the judge passed it over too, and wrote it to the dead letters
            state.offset = stored.offset
            continue
        yield entry, outputs


def replay(entries: Iterable[StoredEntry], partition: int, control_topic: str) -> dict[str, list[bytes]]:
    """The journal of every experiment of a ledger partition, folded anew from its first entry."""
    journals: dict[str, list[bytes]] = {}
    for _, outputs in judged(entries, PartitionState(partition), control_topic):
        for output in outputs:
            if isinstance(output, JournalOutput):
                journals.setdefault(output.experiment, []).append(output.value)
    return journals


def reproduce(recorded: Recorded, running: JudgeVersion | None, control_topic: str) -> Reproduction:
    """Folds what was recorded and compares, as far as the stored journal goes: what came later may not be judged yet.

    running  the version that replays; None: it is held to every span
    """
    last = journal.decode(recorded.journal[-1]).ledger_offset if recorded.journal else -1
    until = takewhile(lambda entry: entry.offset <= last, recorded.entries)
    comparison = Comparison(recorded, running)
    for entry, outputs in judged(until, PartitionState(recorded.partition), control_topic):
        comparison.take(entry, outputs)
    return comparison.result()


class Comparison:
    """Gathers what a fold says, and holds it against the stored journal."""

    def __init__(self, recorded: Recorded, running: JudgeVersion | None) -> None:
        self.recorded, self.running = recorded, running
        self._stored = [(journal.decode(value).ledger_offset, value) for value in recorded.journal]
        self._last = self._stored[-1][0] if self._stored else -1
        self._replayed: list[tuple[int, bytes]] = []
        self._versions: list[tuple[int, JudgeVersion]] = []

    def take(self, entry: Entry, outputs: Iterable[Output]) -> None:
        """An entry and what follows from it; what lies behind the stored journal is not compared."""
        if entry.offset > self._last:
            return
        if isinstance(entry.fact, JudgeVersion):
            self._announced(entry.offset, entry.fact)
        for output in outputs:
            if isinstance(output, JournalOutput) and output.experiment == self.recorded.experiment:
                self._replayed.append((entry.offset, output.value))

    def _announced(self, offset: int, version: JudgeVersion) -> None:
        """A version that takes over from itself, after a restart, begins no span."""
        if not self._versions or self._versions[-1][1].text != version.text:
            self._versions.append((offset, version))

    def result(self) -> Reproduction:
        versions: list[JudgeVersion | None] = [version for _, version in self._versions] or [None]
        # Who judges first says so first; what stands before that was written while nobody judged.
        starts = [0, *(offset for offset, _ in self._versions[1:])]
        stored, replayed = _by_span(self._stored, starts), _by_span(self._replayed, starts)
        spans: list[Span] = []
        number = 0
        for version, start, expected, found in zip(versions, starts, stored, replayed, strict=True):
            untouched = all(span.outcome == "reproduced" for span in spans)
            difference = _difference(number, expected, found, untouched)
            outcome: SpanOutcome = "reproduced" if difference is None else "differs" if untouched else "undecided"
            spans.append(Span(version, self._is_mine(version), start, len(expected), outcome, difference))
            number += len(expected)
        return Reproduction(self.recorded.experiment, len(self._stored), len(self._replayed), tuple(spans))

    def _is_mine(self, version: JudgeVersion | None) -> bool:
        return version is None or self.running is None or version.text == self.running.text


def _by_span(entries: Iterable[tuple[int, bytes]], starts: Sequence[int]) -> list[list[bytes]]:
    spans: list[list[bytes]] = [[] for _ in starts]
    for offset, value in entries:
        spans[max(0, bisect_right(starts, offset) - 1)].append(value)
    return spans


def _difference(number: int, stored: list[bytes], replayed: list[bytes], untouched: bool) -> Difference | None:
    """Byte by byte; behind a difference, the numbers and hashes that chain the entries differ too and are left out."""
    for at, (expected, found) in enumerate(zip_longest(stored, replayed), number):
        same = expected == found if untouched else _said(expected) == _said(found)
        if not same:
            return Difference(at, _text(expected), _text(found))
    return None


def _said(value: bytes | None) -> JournalEntry | None:
    return None if value is None else replace(journal.decode(value), number=0, previous="")


def _text(value: bytes | None) -> str | None:
    return None if value is None else str(journal.decode(value).conclusion)
