"""A decoded batch of some source partitions, what is wrong with which of its rows, and which part is whose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import numpy as np

from stoploss.intake.batch import Batch, Rows
from stoploss.intake.project import Origin
from stoploss.intake.quantise import Mask
from stoploss.intake.results import Fetched
from stoploss.intake.validate import Faults
from stoploss.wire.traces import Decoded

NOWHERE: Rows = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Checked:
    """A decoded batch and what is wrong with which of its rows.

    values, offsets, stamps_ms  of the records, by position, of all source partitions one after the other
    origin   of the rows
    waiting  rows that are not looked at here: bare outcomes, which the resolver brings again
    """

    values: Sequence[bytes | None]
    offsets: Rows
    stamps_ms: Rows
    decoded: Decoded
    batch: Batch
    origin: Origin
    broker_micros: Rows
    faults: Faults
    untimely: Mapping[int, str]
    waiting: Rows = field(default_factory=lambda: NOWHERE)
    judged: Mask = field(init=False)

    def __post_init__(self) -> None:
        judged = np.ones(self.batch.rows, np.bool_)
        judged[[*self.faults, *self.untimely]] = False
        judged[self.waiting] = False
        object.__setattr__(self, "judged", judged)


@dataclass(frozen=True, slots=True)
class Part:
    """What one source partition has of a batch: some of its records, and the rows that those became."""

    positions: range
    rows: range

    @property
    def span(self) -> slice:
        return slice(self.rows.start, self.rows.stop)


def parts_of(fetched: Sequence[Fetched], checked: Checked) -> list[Part]:
    ends = [0, *accumulate(len(part) for part in fetched)]
    places = np.searchsorted(checked.decoded.positions, ends).tolist()
    return [
        Part(range(*positions), range(*rows)) for positions, rows in zip(pairwise(ends), pairwise(places), strict=True)
    ]


def assignments_of(checked: Checked, rows: Iterable[int]) -> dict[int, list[tuple[str, str]]]:
    """(experiment, variant) pairs of some rows of the batch."""
    wanted = np.zeros(checked.batch.rows, np.bool_)
    wanted[list(rows)] = True
    assigned = checked.batch.items("assignments")
    places = np.flatnonzero(wanted[assigned.rows])
    found: dict[int, list[tuple[str, str]]] = {}
    if places.size:
        experiments, variants = (assigned.fields[name][places] for name in ("experiment", "variant"))
        for row, experiment, variant in zip(assigned.rows[places].tolist(), experiments, variants, strict=True):
            found.setdefault(row, []).append((experiment, variant))
    return found
