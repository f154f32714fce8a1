"""What rules fold: the rows of one ledger entry, prepared once for all of them, and the moment they are judged in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stoploss.commands import Micros
from stoploss.metrics import MISSING
from stoploss.segments import Dimension

IntArray = npt.NDArray[np.int64]
UnitArray = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

CONTROL, TREATMENT = 0, 1


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of declared variants, trimmed of repeats, in ledger order.

    arm       0 control, 1 treatment
    unit      salted hash of the randomisation unit
    at        event time, microseconds; start: when the request began
    exposure  true: rows of traces; false: rows of outcomes, which tell of no exposure of their own
    compared  the arms may be compared on this row: its epoch is open, its segments are not stopped
    first     first trace of its unit in the experiment
    capped    among the first ten of its unit today
    cells     cell of each row by dimension, -1 where it has no value
    metrics   value of each row by column, metrics.MISSING where it has none
    gates     bits of the gates that the row trips; details in words, by row index
    """

    arm: IntArray
    unit: UnitArray
    at: IntArray
    start: IntArray
    exposure: bool
    compared: Mask
    first: Mask
    capped: Mask
    cells: dict[str, IntArray]
    metrics: dict[str, IntArray]
    gates: npt.NDArray[np.uint32]
    details: dict[int, str]

    @property
    def size(self) -> int:
        return int(self.arm.size)


def together(parts: Sequence[Rows]) -> Rows:
    """Rows of several ledger entries as one, in order; all of one experiment and of one kind."""
    first = parts[0]
    if len(parts) == 1:
        return first
    columns = ("arm", "unit", "at", "start", "compared", "first", "capped", "gates")
    return Rows(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in columns},
        exposure=first.exposure,
        cells={name: np.concatenate([part.cells[name] for part in parts]) for name in first.cells},
        metrics={name: np.concatenate([_column(part, name) for part in parts]) for name in _all_metrics(parts)},
        details={},
    )


def _all_metrics(parts: Sequence[Rows]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part.metrics))


def _column(part: Rows, name: str) -> IntArray:
    found = part.metrics.get(name)
    return np.full(part.size, MISSING, np.int64) if found is None else found


@dataclass(frozen=True, slots=True)
class Moment:
    """When and under which circumstances rules are folded and judged; nothing here comes from a clock of ours.

    at           ledger time, microseconds
    caught_up    every source partition was read to its end when its last status was written
    exposed      the treatment variant is meant to receive traffic
    share        share of traffic of the treatment variant in the open epoch; None: no epoch is open
    dimensions   all segment dimensions
    due          names of those to fold or judge now: everybody at each entry, the segments at each tick
    whole        everything there is to say is asked for, news or not: at ticks, and for what people plot
    """

    at: Micros
    caught_up: bool
    exposed: bool
    share: float | None
    dimensions: dict[str, Dimension]
    due: tuple[str, ...]
    whole: bool = False
