"""Replay: the judge over a stored ledger, then a comparison with the stored journal. Same rules, same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stoploss import journal, ledger
from stoploss.commands import Micros
from stoploss.errors import WireError
from stoploss.ledger import Entry
from stoploss.monitor import step
from stoploss.outputs import JournalOutput
from stoploss.state import PartitionState


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """A ledger record as it was stored: where it stood, the broker's time, and its exact bytes."""

    partition: int
    offset: int
    at: Micros
    value: bytes


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a replayed journal of one experiment compares with the stored one.

    first_difference  number of the first entry that differs, None where all are equal
    expected, found   that entry as stored and as replayed; None where one side has none
    """

    experiment: str
    stored: int
    replayed: int
    first_difference: int | None = None
    expected: str | None = None
    found: str | None = None

    @property
    def identical(self) -> bool:
        return self.first_difference is None


def replay(entries: Iterable[StoredEntry], partition: int, control_topic: str) -> dict[str, list[bytes]]:
    """The journal of every experiment of a ledger partition, folded anew from its first entry."""
    state = PartitionState(partition)
    journals: dict[str, list[bytes]] = {}
    for stored in entries:
        try:
            entry = Entry(partition, stored.offset, stored.at, ledger.decode(stored.value))
            outputs = step(state, entry, control_topic)
        except WireError:  # the judge passed it over too, and wrote it to the dead letters
            state.offset = stored.offset
            continue
        for output in outputs:
            if isinstance(output, JournalOutput):
                journals.setdefault(output.experiment, []).append(output.value)
    return journals


def compare(experiment: str, stored: list[bytes], replayed: list[bytes]) -> Comparison:
    """Entry by entry, byte by byte. A replay that goes further than the stored journal differs there too."""
    for number in range(max(len(stored), len(replayed))):
        expected = stored[number] if number < len(stored) else None
        found = replayed[number] if number < len(replayed) else None
        if expected != found:
            return Comparison(experiment, len(stored), len(replayed), number, _text(expected), _text(found))
    return Comparison(experiment, len(stored), len(replayed))


def _text(value: bytes | None) -> str | None:
    return None if value is None else str(journal.decode(value).conclusion)
