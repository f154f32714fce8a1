"""Minimum cells: which segments' numbers people may not read, so that none can be computed from what they may read.

A cell whose smaller arm has fewer rows than the minimum is withheld. What is left would often give it away: everybody
less all other values of the dimension, or a row of a cross less its other cells. So cells are withheld beside it
(complementary suppression, Cox 1980, JASA 75(370)) until no sum that is shown determines a withheld cell, and until
what the shown ones leave of a whole is itself no small cell.

A sum binds unless so many of its rows are in no cell of their own, in each arm, that they are no small cell either. The
first rows of a value, until it gets its cell, do not count for that: everybody knows how many they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from stoploss.commands import Segment
from stoploss.experiment import CROSS
from stoploss.segments import PATIENCE

MINIMUM_CELL = 20
"""Rows in an arm below which a segment's numbers are withheld, unless the spec's privacy.minimumCell says otherwise."""
PRIME = 2_147_483_647
"""Sums of cells are solved modulo this: exact, and products of two remainders fit 64 bits."""

IntArray = npt.NDArray[np.int64]
Cells = frozenset[Segment]
Arms = tuple[int, ...]
"""Rows of each arm, in the same order in all cells."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A sum that people can know: the parts add up to the whole; None: everybody, whose numbers are always shown."""

    whole: Segment | None
    parts: tuple[Segment, ...]


def withheld(rows: Mapping[Segment | None, Arms], minimum: int, already: Cells = frozenset()) -> Cells:
    """The cells of one table whose numbers are not for people to read.

    rows     of every cell that has numbers; None: of everybody, if that is known
    minimum  rows in an arm below which a cell is small, >= 1
    already  withheld for another reason

    >>> a, b, c = (Segment("tenant", name) for name in "abc")
    >>> sorted(map(str, withheld({None: (442, 450), a: (400, 400), b: (30, 30), c: (12, 20)}, 20)))
    ['tenant=b', 'tenant=c']
    >>> withheld({None: (900, 900), a: (400, 400), b: (30, 30), c: (25, 25)}, 20)
    frozenset()
    """
    cells = frozenset(cell for cell in rows if cell is not None)
    hidden = frozenset(cell for cell in cells if min(rows[cell]) < minimum) | (already & cells)
    sums = tuple(one for one in wholes(cells) if _binds(one, rows, minimum)) if hidden else ()
    while beside := list(_beside(rows, minimum, hidden, sums)):
        hidden |= {min(beside, key=lambda cell: (-cell.dimension.count(CROSS), min(rows[cell]), str(cell)))}
    return hidden


def without_numbers(subject: str | None, segment: object, verdict: str | None) -> str:
    """What may be said of a segment where nobody looked whether its numbers may be read.

    >>> without_numbers("latency_ms", Segment("tenant", "acme"), "breach")
    'latency_ms for tenant=acme is breach'
    """
    return f"{subject} for {segment} is {verdict}"


def _binds(one: Whole, rows: Mapping[Segment | None, Arms], minimum: int) -> bool:
    if one.whole not in rows:
        return True
    elsewhere = np.array(rows[one.whole]) - np.array([rows[part] for part in one.parts]).sum(axis=0)
    return bool((elsewhere - PATIENCE * len(one.parts) < minimum).any())


def _beside(
    rows: Mapping[Segment | None, Arms], minimum: int, hidden: Cells, sums: tuple[Whole, ...]
) -> Iterator[Segment]:
    """Shown cells of the sums that still give a cell away."""
    known = determined(hidden, frozenset(cell for cell in rows if cell is not None), sums)
    for one in sums:
        away = [rows[part] for part in one.parts if part in hidden]
        whole_is_known = one.whole is None or (one.whole in rows and one.whole not in hidden)
        few = bool(away) and whole_is_known and min(np.array(away).sum(axis=0)) < minimum
        cells = [cell for cell in (*one.parts, one.whole) if cell is not None and cell in rows]
        if few or any(cell in known for cell in cells):
            yield from (cell for cell in cells if cell not in hidden)


@lru_cache(maxsize=256)
def wholes(cells: Cells) -> tuple[Whole, ...]:
    """Every sum over cells: of a dimension's values to everybody, and of a cross to each of its own dimensions."""
    values: dict[str, list[Segment]] = defaultdict(list)
    for cell in sorted(cells, key=str):
        values[cell.dimension].append(cell)
    found = [Whole(None, tuple(of_dimension)) for of_dimension in values.values()]
    for dimension, of_dimension in values.items():
        for outer in _outer(dimension):
            found += _sums_to(outer, dimension, of_dimension)
    return tuple(found)


def _outer(dimension: str) -> Iterator[str]:
    """Dimensions that a cross is a part of: "a×b" of "a" and of "b"."""
    names = dimension.split(CROSS)
    for size in range(1, len(names)):
        yield from (CROSS.join(chosen) for chosen in combinations(names, size))


def _sums_to(outer: str, dimension: str, cells: Iterable[Segment]) -> Iterator[Whole]:
    names = dimension.split(CROSS)
    places = [names.index(name) for name in outer.split(CROSS)]
    parts: dict[str, list[Segment]] = defaultdict(list)
    for cell in cells:
        values = cell.value.split(CROSS)
        if len(values) == len(names):
            parts[CROSS.join(values[place] for place in places)].append(cell)
    yield from (Whole(Segment(outer, value), tuple(of_value)) for value, of_value in parts.items())


@lru_cache(maxsize=256)
def determined(hidden: Cells, cells: Cells, sums: tuple[Whole, ...]) -> Cells:
    """Withheld cells that the sums determine exactly, where all of `cells` but the hidden ones are known.

    A sum to a cell that is no part of the table, such as a tenant's where only crosses of tenants are measured, is
    unknown too, but ties those crosses to each other.
    """
    outside = {one.whole for one in sums if one.whole is not None and one.whole not in cells}
    unknown = sorted(hidden | outside, key=str)
    place = {cell: index for index, cell in enumerate(unknown)}
    equations = np.zeros((len(sums), len(unknown)), np.int64)
    for row, one in enumerate(sums):
        for cell in one.parts:
            if cell in place:
                equations[row, place[cell]] += 1
        if one.whole in place:
            equations[row, place[one.whole]] -= 1
    solved = _reduced(equations)
    alone = solved[np.count_nonzero(solved, axis=1) == 1]
    return frozenset(unknown[index] for index in np.flatnonzero(alone.any(axis=0)).tolist()) & hidden


def _reduced(rows: IntArray) -> IntArray:
    """The reduced row echelon form modulo PRIME."""
    rows, top = rows % PRIME, 0
    for column in range(rows.shape[1]):
        below = np.flatnonzero(rows[top:, column])
        if not below.size:
            continue
        pivot = top + int(below[0])
        rows[[top, pivot]] = rows[[pivot, top]]
        rows[top] = rows[top] * pow(int(rows[top, column]), -1, PRIME) % PRIME
        others = rows[:, column].copy()
        others[top] = 0
        rows = (rows - others[:, None] * rows[top]) % PRIME
        top += 1
        if top == len(rows):
            break
    return rows
