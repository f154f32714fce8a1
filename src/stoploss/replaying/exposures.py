"""Exposures that a stop saves or another one's absence adds: counted from the requests, each for one stop alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stoploss.commands import Segment
from stoploss.evidence import CONTROL, TREATMENT, Columns
from stoploss.replaying.acts import STOPS, Act

Mask = npt.NDArray[np.bool_]
NOBODY = -1


def covered(acts: Sequence[Act], columns: Columns) -> npt.NDArray[np.int64]:
    """For each request, the place of the first act that takes the treatment from it; -1: none does.

    An act takes it from requests that begin after it: of everybody, or of its segment value.
    """
    found = np.full(columns.rows, NOBODY, np.int64)
    for place, act in enumerate(acts):
        if act.action in STOPS:
            found[(found == NOBODY) & (columns.start > act.at) & _within(act.segment, columns)] = place
    return found


def saved(recorded: Sequence[Act], other: Sequence[Act], columns: Columns, fresh: Mask) -> npt.NDArray[np.int64]:
    """By act of the other: requests that the treatment served, and that it would not have served."""
    taken = covered(other, columns)
    served = fresh & (columns.variant == TREATMENT) & (covered(recorded, columns) == NOBODY)
    return _by_act(taken[served], len(other))


def withheld(recorded: Sequence[Act], other: Sequence[Act], columns: Columns, fresh: Mask) -> npt.NDArray[np.int64]:
    """By recorded act: requests of control after it, which the other would still have split between the two."""
    taken = covered(recorded, columns)
    left = fresh & (columns.variant == CONTROL) & (covered(other, columns) == NOBODY)
    return _by_act(taken[left], len(recorded))


def _by_act(places: npt.NDArray[np.int64], acts: int) -> npt.NDArray[np.int64]:
    return np.bincount(places[places != NOBODY], minlength=acts).astype(np.int64)


def _within(segment: Segment | None, columns: Columns) -> Mask:
    if segment is None:
        return np.ones(columns.rows, np.bool_)
    of_dimension = columns.segments.get(segment.dimension)
    if of_dimension is None or segment.value not in of_dimension.values:
        return np.zeros(columns.rows, np.bool_)
    found: Mask = of_dimension.codes == of_dimension.values.index(segment.value)
    return found
