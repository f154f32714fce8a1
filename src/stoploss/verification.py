"""Is a journal whole, and as the monitor wrote it? Told from its exact bytes, its checkpoints and a public key alone.

Every entry is linked to the one before it by hash, and its id says which ledger entry it came from. Links are what
anybody can compute; a checkpoint is what only the holder of the monitor's key can make. So entries are evidence up to
the last checkpoint, and behind it they are merely linked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields

from stoploss import checkpoints, journal
from stoploss.checkpoints import Checkpoint, SignedValue
from stoploss.commands import Micros, derived_id
from stoploss.errors import CommandRefused, WireError
from stoploss.journal import GENESIS, JournalEntry
from stoploss.signing import Verifier, key_id_in


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong: where, in which field, what belongs there and what stands there."""

    where: str
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}, {self.field}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found right, from the first entry on, and what is wrong, if anything is.

    signed_through  number of the last entry that a checkpoint covers
    head            hash of the last entry that was found right
    key_ids         of the keys that signed the checkpoints
    """

    experiment: str
    entries: int
    first_at: Micros | None
    last_at: Micros | None
    head: str
    checkpoints: int
    signed_through: int | None
    key_ids: tuple[str, ...]
    installation: str | None
    fault: Fault | None

    @property
    def unsigned(self) -> int:
        """Entries behind the last checkpoint."""
        return self.entries - 1 - (-1 if self.signed_through is None else self.signed_through)


def verify(
    experiment: str, entries: Iterable[bytes], signed: Sequence[SignedValue], verifier: Verifier
) -> Verification:
    """Walks the journal of an experiment from its first entry to the first thing that is wrong.

    entries  exact bytes, in the order of their numbers
    signed   its checkpoints
    """
    walk = _Walk(experiment)
    fault = next(_faults(walk, entries, signed, verifier), None)
    return Verification(
        experiment=experiment,
        entries=walk.entries,
        first_at=walk.first_at,
        last_at=walk.last.at if walk.last else None,
        head=walk.head,
        checkpoints=walk.checkpoints,
        signed_through=walk.signed_through,
        key_ids=tuple(sorted(walk.key_ids)),
        installation=walk.installation,
        fault=fault,
    )


@dataclass(slots=True)
class _Walk:
    """How far everything was right."""

    experiment: str
    entries: int = 0
    head: str = GENESIS
    first_at: Micros | None = None
    last: JournalEntry | None = None
    checkpoints: int = 0
    signed_through: int | None = None
    key_ids: set[str] = field(default_factory=set)
    installation: str | None = None

    def passed(self, entry: JournalEntry, value: bytes) -> None:
        self.entries, self.head, self.last = self.entries + 1, journal.hash_of(value), entry
        self.first_at = entry.at if self.first_at is None else self.first_at

    def covered(self, checkpoint: Checkpoint) -> None:
        self.checkpoints, self.signed_through = self.checkpoints + 1, checkpoint.number


def _faults(
    walk: _Walk, entries: Iterable[bytes], signed: Sequence[SignedValue], verifier: Verifier
) -> Iterator[Fault]:
    """Lazily: behind the first one nothing is said, for nothing there could be relied on."""
    by_number: dict[int, list[Checkpoint]] = {}
    yield from _signatures(walk, signed, verifier, by_number)
    for value in entries:
        try:
            entry = journal.decode(value)
        except WireError as error:
            yield Fault(f"entry {walk.entries}", "value", "a whole journal entry", str(error))
            return
        yield from _of_entry(walk, entry)
        walk.passed(entry, value)
        for checkpoint in by_number.pop(entry.number, ()):
            yield from _of_checkpoint(checkpoint, checkpoints.checkpoint_of(entry, value, checkpoint.installation))
            walk.covered(checkpoint)
    yield from _at_the_end(walk, by_number)


# ---- entries -------------------------------------------------------------------------------------


def _of_entry(walk: _Walk, entry: JournalEntry) -> Iterator[Fault]:
    """What an entry must say, given all before it."""
    place = (entry.experiment, entry.ledger_partition, entry.ledger_offset, entry.ordinal)
    belongs: dict[str, object] = {
        "experiment": walk.experiment,
        "number": walk.entries,
        "previous": walk.head,
        "entry_id": derived_id(*place),
    }
    if walk.last is not None:
        belongs["ledger_partition"] = walk.last.ledger_partition
    for name, expected in belongs.items():
        if (found := getattr(entry, name)) != expected:
            yield Fault(f"entry {walk.entries}", name, f"{expected}{_HINTS.get(name, '')}", str(found))
    if walk.last is not None:
        yield from _backwards(entry, walk.last)


_HINTS = {
    "number": " (an entry before it was dropped, repeated or moved)",
    "previous": " (the hash of the entry before it as it stands: that one was altered, or this link)",
    "entry_id": " (made from experiment, ledger partition, offset and ordinal)",
}


def _backwards(entry: JournalEntry, before: JournalEntry) -> Iterator[Fault]:
    """Ledger place and time only ever grow, and so does the run."""
    if (entry.ledger_offset, entry.ordinal) <= (before.ledger_offset, before.ordinal):
        expected = f"behind offset {before.ledger_offset}, ordinal {before.ordinal}"
        yield Fault(f"entry {entry.number}", "ledger_offset", expected, f"{entry.ledger_offset}, {entry.ordinal}")
    for name in ("at", "run"):
        least, found = getattr(before, name), getattr(entry, name)
        if found < least:
            yield Fault(f"entry {entry.number}", name, f"{least} or later", str(found))


# ---- checkpoints ---------------------------------------------------------------------------------


def _signatures(
    walk: _Walk, signed: Sequence[SignedValue], verifier: Verifier, by_number: dict[int, list[Checkpoint]]
) -> Iterator[Fault]:
    """Verified first, then parsed: nothing that a checkpoint says is used before its signature was found right."""
    for place, one in enumerate(signed, start=1):
        where = f"checkpoint {place} of {len(signed)}"
        try:
            verifier.verify(one.value, one.signature)
            checkpoint = checkpoints.decode(one.value)
        except CommandRefused as error:
            yield Fault(where, "signature", "one of a trusted key", str(error))
            return
        except WireError as error:
            yield Fault(where, "value", "a whole checkpoint", str(error))
            return
        walk.installation = walk.installation or checkpoint.installation
        belongs = {"experiment": walk.experiment, "installation": walk.installation}
        for name, expected in belongs.items():
            if (found := getattr(checkpoint, name)) != expected:
                yield Fault(where, name, expected, found)
        walk.key_ids.add(key_id_in(one.signature))
        by_number.setdefault(checkpoint.number, []).append(checkpoint)


def _of_checkpoint(checkpoint: Checkpoint, expected: Checkpoint) -> Iterator[Fault]:
    """What was signed, against the entry as it now stands."""
    for member in fields(Checkpoint):
        signed, stands = getattr(checkpoint, member.name), getattr(expected, member.name)
        if signed != stands:
            where = f"entry {checkpoint.number}"
            name = "sha256 of the entry" if member.name == "chain" else member.name
            yield Fault(where, name, f"{signed} (signed in its checkpoint)", str(stands))


def _at_the_end(walk: _Walk, beyond: dict[int, list[Checkpoint]]) -> Iterator[Fault]:
    if beyond:
        signed = f"entries up to {max(beyond)} (a checkpoint signs that one)"
        yield Fault("the end of the journal", "entries", signed, f"{walk.entries}: it was cut off")
    if walk.signed_through is None:
        yield Fault("the journal", "checkpoints", "one at least (each journal has one of its first entry)", "none")
