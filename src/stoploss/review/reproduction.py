"""How to make the conclusions of a review again: what was judged, by which versions, and what proves it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from stoploss.checkpoints import Checkpoint
from stoploss.ledger import JudgeVersion
from stoploss.review.words import moment
from stoploss.store.rows import TimelineEntry


@dataclass(frozen=True, slots=True)
class JudgedBy:
    """A version of the judge that judged a part of the run, from a ledger offset on."""

    from_offset: int
    version: str


@dataclass(frozen=True, slots=True)
class SignedUpTo:
    """The last signature under the journal: it covers this entry and all before it."""

    number: int
    chain: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Reproduction:
    """
    first_offset, last_offset  of the ledger entries that the run's conclusions name
    first_number, last_number  of its journal entries
    signed                     None: no checkpoint is stored
    commands                   which show that it is so
    """

    spec_hash: str
    ledger_partition: int
    first_offset: int | None
    last_offset: int | None
    first_number: int | None
    last_number: int | None
    judged_by: tuple[JudgedBy, ...]
    signed: SignedUpTo | None
    commands: tuple[str, ...]


def reproduction(
    experiment: str,
    spec_hash: str,
    partition: int,
    entries: Sequence[TimelineEntry],
    versions: Sequence[tuple[int, JudgeVersion]],
    signed: Checkpoint | None,
) -> Reproduction:
    """
    entries   of the run, in order
    versions  of the ledger partition, with their offsets, in order
    """
    offsets = [entry.ledger_offset for entry in entries]
    first, last = (min(offsets), max(offsets)) if offsets else (None, None)
    return Reproduction(
        spec_hash=spec_hash,
        ledger_partition=partition,
        first_offset=first,
        last_offset=last,
        first_number=entries[0].number if entries else None,
        last_number=entries[-1].number if entries else None,
        judged_by=tuple(_judged_by(versions, first, last)),
        signed=SignedUpTo(signed.number, signed.chain, moment(signed.at)) if signed else None,
        commands=(
            f"stoploss replay {experiment}",
            f"stoploss archive {experiment} -o {experiment}.tar",
            f"stoploss verify {experiment}.tar",
        ),
    )


def _judged_by(versions: Sequence[tuple[int, JudgeVersion]], first: int | None, last: int | None) -> Iterator[JudgedBy]:
    """Those in force within the run: the last before it, and each that came in it; one that says the same again is not
    told again."""
    if first is None or last is None:
        return
    before = [one for one in versions if one[0] <= first][-1:]
    said = None
    for offset, version in (*before, *(one for one in versions if first < one[0] <= last)):
        text = f"python {version.python} {version.text}"
        if text != said:
            yield JudgedBy(offset, text)
        said = text
