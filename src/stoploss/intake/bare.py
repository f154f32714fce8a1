"""Bare outcomes: they name a trace and carry nothing else of it. Which they are, and how they get its context.

Joiner and resolver both read the topic of outcomes, and each leaves to the other what is not its own. So what is bare
is told by the bytes alone: by no clock, no list of experiments and no state, or one would be taken twice or by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from stoploss.intake import validate
from stoploss.intake.batch import Batch, Rows
from stoploss.intake.validate import Fault, Faults
from stoploss.wire import records
from stoploss.wire.traces import Decoded

LARGEST_BARE_BYTES = 65_536
"""With its trace's context, and on its way through other topics, it must still fit into a Kafka record."""
LARGEST_RESOLVED_BYTES = 900_000
UNRESOLVED: Final = "unresolved"


@dataclass(frozen=True, slots=True)
class Bare:
    """Bare outcomes of a batch.

    positions  of each among the values that were decoded
    outcomes   each as a record of the current schema
    """

    positions: Sequence[int]
    outcomes: Sequence[Mapping[str, Any]]

    @property
    def trace_ids(self) -> list[str]:
        """Each once, in the order in which they came."""
        return list(dict.fromkeys(outcome["trace_id"] for outcome in self.outcomes))


def bare_outcomes(decoded: Decoded, values: Sequence[bytes | None]) -> Bare:
    """Those whose traces are to be looked up: bare, right otherwise, and not too large."""
    batch = Batch(decoded.frame, b"")
    rows, _ = bare_rows(batch, validate.outcome_faults(batch), sizes_of(decoded, values))
    return Bare(decoded.positions[rows].tolist(), list(decoded.frame[rows].iter_rows(named=True)))


def bare_rows(batch: Batch, faults: Faults, sizes: Rows) -> tuple[Rows, Faults]:
    """Rows that are bare and right otherwise, and the faults of those among them that are too large.

    faults  what else is wrong, by row
    sizes   bytes of each row's record
    """
    bare = np.ones(batch.rows, np.bool_)
    bare[batch.items("assignments").rows] = False
    bare[list(faults)] = False
    large = bare & (sizes > LARGEST_BARE_BYTES)
    refused = {
        row: Fault(
            "too_large", f"a bare outcome has {sizes[row]:,} bytes; at most {LARGEST_BARE_BYTES:,} are looked up"
        )
        for row in np.flatnonzero(large).tolist()
    }
    return np.flatnonzero(bare & ~large), refused


def sizes_of(decoded: Decoded, values: Sequence[bytes | None]) -> Rows:
    """Bytes of each row's record."""
    return np.array([len(values[position] or b"") for position in decoded.positions.tolist()], np.int64)


def unresolved(batch: Batch, faults: Faults) -> Faults:
    """What is bare although its trace was looked up."""
    rows, _ = bare_rows(batch, faults, np.zeros(batch.rows, np.int64))
    reason = (
        "no stored trace has this trace_id: it never came, was in no experiment, or came later than is waited for; "
        "send outcomes with the context that the SDK hands back, or, once the trace is stored, "
        f"stoploss deadletter retry --reason {UNRESOLVED}"
    )
    return {row: Fault(UNRESOLVED, reason) for row in rows.tolist()}


def with_context(outcome: Mapping[str, Any], context: Mapping[str, Any]) -> bytes | None:
    """The outcome as if its sender had known its trace: unit, segments and assignments are the trace's, whatever the
    sender said of them, or its row would stand in other cells than the trace's. None: together they are too large.
    """
    value = records.encode("outcome", {**outcome, **context})
    return value if len(value) <= LARGEST_RESOLVED_BYTES else None
