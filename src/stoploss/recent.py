"""The traces that came lately, by their hash: a repeat among the last 65,536 is dropped, however rows are cut.

A table of places, by bits of the hash, names the last trace of each place, and each trace the one before it in its
place: a handful of array operations looks up a whole block, where Python's set takes a microsecond for five rows. The
table grows with what it holds: memory that was never touched costs most where a worker takes over many experiments.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from stoploss.arrays import indices

Hashes = npt.NDArray[np.uint64]
IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

RECENT_TRACES = 65_536
FIRST_PLACES, PLACES_A_TRACE = 4_096, 4
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LARGEST_PART = 8_192


class RecentTraces:
    """Numbers count from 1 in the order in which traces were remembered; trace number i stands at i % RECENT_TRACES.

    hashes  of the last traces; earlier: number of the trace before it in its place, 0 where there was none
    last    number of the last trace in each place
    """

    PLAIN: ClassVar[Any] = np.ndarray

    def __init__(self) -> None:
        self.hashes = np.zeros(RECENT_TRACES, np.uint64)
        self.earlier = np.zeros(RECENT_TRACES, np.int64)
        self.last = np.zeros(FIRST_PLACES, np.int64)
        self.count = 0

    def fresh(self, trace: Hashes) -> Mask:
        """Which rows are of a trace not seen lately; remembers them. At most 8,192 rows."""
        self._make_room(self.count + trace.size)
        place = self._place(trace)
        number, shared = self._number(trace, place), _shared(place)
        if number.any() or np.unique(trace[shared]).size < shared.size:
            return self._sorted_out(trace, number)
        self._remember(trace, place, shared)
        return np.ones(trace.size, np.bool_)

    def holds(self, trace: Hashes) -> Mask:
        """Which rows are of a trace that is known."""
        held: Mask = self._number(trace, self._place(trace)) > 0
        return held

    def _number(self, trace: Hashes, place: IntArray) -> IntArray:
        """The number of each trace, 0 where it is not known."""
        found, number, oldest = np.zeros(trace.size, np.int64), self.last[place], max(0, self.count - RECENT_TRACES)
        rows = indices(number > oldest)
        while rows.size:
            at = number[rows]
            hit = self.hashes[at % RECENT_TRACES] == trace[rows]
            found[rows[hit]] = at[hit]
            number[rows] = self.earlier[at % RECENT_TRACES]
            rows = rows[~hit & (number[rows] > oldest)]
        return found

    def _sorted_out(self, trace: Hashes, number: IntArray) -> Mask:
        """As fresh, where some are known or come more than once."""
        new: Mask = number == 0
        if (number[~new] <= self.count + trace.size - RECENT_TRACES).any():
            return self._one_by_one(trace)
        rows = indices(new)
        new[:] = False
        new[rows[np.unique(trace[rows], return_index=True)[1]]] = True
        self._add(trace[new])
        return new

    def _one_by_one(self, trace: Hashes) -> Mask:
        """As fresh, where a trace that is to be forgotten in the middle of these rows comes again."""
        new = np.zeros(trace.size, np.bool_)
        for row in range(trace.size):
            one = trace[row : row + 1]
            new[row] = not self.holds(one)[0]
            self._add(one[new[row : row + 1]])
        return new

    def _make_room(self, traces: int) -> None:
        """More places for so many traces. None has been forgotten while there may be more, so numbers stay."""
        places = 1 << (min(traces, RECENT_TRACES) * PLACES_A_TRACE).bit_length() >> 1
        if self.last.size < places:
            held, self.count = self.to_plain(), 0
            self.last = np.zeros(places, np.int64)
            self._add_all(held)

    def _add_all(self, traces: Hashes) -> None:
        for start in range(0, traces.size, LARGEST_PART):
            self._add(traces[start : start + LARGEST_PART])

    def _add(self, trace: Hashes) -> None:
        place = self._place(trace)
        self._remember(trace, place, _shared(place))

    def _remember(self, trace: Hashes, place: IntArray, shared: IntArray) -> None:
        """Adds traces that are distinct and not known; as many of the oldest make room for them."""
        number = np.arange(self.count + 1, self.count + 1 + trace.size)
        earlier = self.last[place]
        if shared.size:
            order = shared[np.argsort(place[shared], kind="stable")]
            follows = indices(place[order[1:]] == place[order[:-1]])
            earlier[order[follows + 1]] = number[order[follows]]
        at = number % RECENT_TRACES
        self.hashes[at], self.earlier[at] = trace, earlier
        # Of equal places the last one is kept, which has the highest number.
        self.last[place] = number
        self.count += trace.size

    def to_plain(self) -> Hashes:
        """In the order in which they came."""
        held = min(self.count, RECENT_TRACES)
        return self.hashes[np.arange(self.count - held + 1, self.count + 1) % RECENT_TRACES]

    @classmethod
    def from_plain(cls, plain: Hashes) -> Self:
        restored = cls()
        restored._make_room(plain.size)
        restored._add_all(plain)
        return restored

    def _place(self, trace: Hashes) -> IntArray:
        """The first bits of the hash times the golden ratio: hashes that count up are spread as well as any."""
        place: IntArray = (trace * GOLDEN >> np.uint64(65 - self.last.size.bit_length())).astype(np.int64)
        return place


def _shared(place: IntArray) -> IntArray:
    """Rows whose place another row has too, ascending."""
    order = np.sort(place)
    twice = order[1:][order[1:] == order[:-1]]
    return indices(np.isin(place, twice)) if twice.size else twice
