"""Dead letters: what could not be read, as it was, with where it stood and why."""

from __future__ import annotations

from dataclasses import dataclass

from stoploss.commands import Micros
from stoploss.ledger import Source
from stoploss.wire import records
from stoploss.wire.refusals import Code

LARGEST_KEPT_BYTES = 256 * 1024
LARGEST_KEPT_KEY_BYTES = 1_024
LONGEST_REASON = 1_000
LATEST_MILLIS = 10_413_705_600_000
"""2299-12-31, the end of what ClickHouse's DateTime64 holds; a producer may have stamped its record with anything."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A record for the dead letters.

    code         kind of fault, for counting
    reason       what is wrong, the value, and the way out
    assignments  (experiment, variant) pairs, where they could be read: rejects of one arm alone bias the experiment
    """

    offset: int
    code: Code
    reason: str
    value: bytes
    timestamp_ms: int
    assignments: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """See schemas/dead_letter.avsc; `size` is that of the original, `value` is cut at 256 KiB.

    Everything in it is bounded: a dead letter that no topic takes would end each worker that reads its record.
    """

    source: Source
    offset: int
    stage: str
    code: str
    reason: str
    key: bytes | None
    value: bytes
    size: int
    at: Micros


def dead_letter(reject: Reject, source: Source, stage: str = "intake", key: bytes | None = None) -> DeadLetter:
    return DeadLetter(
        source=source,
        offset=reject.offset,
        stage=stage,
        code=reject.code,
        reason=reject.reason[:LONGEST_REASON],
        key=key and key[:LARGEST_KEPT_KEY_BYTES],
        value=reject.value[:LARGEST_KEPT_BYTES],
        size=len(reject.value),
        at=min(max(0, reject.timestamp_ms), LATEST_MILLIS) * 1_000,
    )


def encode(letter: DeadLetter) -> bytes:
    return records.encode("dead_letter", letter)


def decode(value: bytes | None) -> DeadLetter:
    return records.decode(value, {"dead_letter": DeadLetter}, own=True)
