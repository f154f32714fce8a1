"""Checkpoints: the monitor's signature under an experiment's journal, up to one entry and so under all before it.

A journal entry carries the hash of the one before it. Whoever can rewrite the whole journal can rewrite the links with
it; a signature over one hash is what they cannot make. The judge signs outside of `step`, as it signs commands, and
publishes a checkpoint in the transaction of the entry that it covers.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoploss import journal
from stoploss.commands import Micros
from stoploss.journal import JournalEntry, LifecycleChanged
from stoploss.wire import records


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is signed: in this installation, the journal of this experiment has this hash at this entry.

    number  of the last entry it covers
    chain   sha256 of that entry's bytes, hex; the entry has the hash of the one before it in it
    """

    installation: str
    experiment: str
    run: int
    number: int
    chain: str
    ledger_partition: int
    ledger_offset: int
    at: Micros


@dataclass(frozen=True, slots=True)
class SignedValue:
    """The exact bytes that were published, and the header `stoploss-signature` beside them; None: there was none."""

    value: bytes
    signature: str | None


def is_due(entry: JournalEntry, every: int) -> bool:
    """The first entry, each `every`-th after it, and each change of the lifecycle: so no journal is without one."""
    return entry.number % every == 0 or isinstance(entry.conclusion, LifecycleChanged)


def checkpoint_of(entry: JournalEntry, value: bytes, installation: str) -> Checkpoint:
    """Of an entry and its exact bytes."""
    return Checkpoint(
        installation=installation,
        experiment=entry.experiment,
        run=entry.run,
        number=entry.number,
        chain=journal.hash_of(value),
        ledger_partition=entry.ledger_partition,
        ledger_offset=entry.ledger_offset,
        at=entry.at,
    )


def encode(checkpoint: Checkpoint) -> bytes:
    return records.encode("checkpoint", checkpoint)


def decode(value: bytes | None) -> Checkpoint:
    return records.decode(value, {"checkpoint": Checkpoint}, own=True)
