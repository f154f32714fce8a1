"""Minimum cells in what the journal says: numbers of a segment that too few traces stand behind are not for people.

The journal is exact and chained, so its numbers are withheld where it is read. Which cells gave each other away at what
time stands in the measures (`stoploss.suppression`): a finding shows its numbers only where the measures around it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stoploss.store.rows import HiddenCell, TimelineEntry
from stoploss.suppression import MINIMUM_CELL, without_numbers

Key = tuple[int, str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Cells:
    """
    minimum     traces in an arm below which a segment's numbers are hidden
    shown_from  by run, metric and segment: the ledger offset from which the measures have shown a cell that they hid
                before; None: they hide it still. Others they have always shown, or are too old to have measures.

    >>> Cells(20).hides_rows("tenant", 19, 400), Cells(20).hides_rows("tenant", 20, 400), Cells(20).hides_rows(None, 3)
    (True, False, False)
    """

    minimum: int = MINIMUM_CELL
    shown_from: Mapping[Key, int | None] = field(default_factory=dict)

    def hides_rows(self, segment_dimension: str | None, *counts: int | None) -> bool:
        """Whether a cell of so many traces is too small, everybody never is."""
        return segment_dimension is not None and any(n is None or n < self.minimum for n in counts)

    def hides(self, entry: TimelineEntry) -> bool:
        """Whether a journal entry speaks of a cell that was too small when it was written, or gave one away."""
        if self.hides_rows(entry.segment_dimension, entry.n_control, entry.n_treatment):
            return True
        cell = (entry.run, entry.metric or "", entry.segment_dimension, entry.segment_value)
        if cell not in self.shown_from:
            return False
        shown_from = self.shown_from[cell]
        return shown_from is None or entry.ledger_offset < shown_from

    @property
    def note(self) -> str:
        return (
            f"numbers hidden: fewer than {self.minimum} traces in an arm, here or in a segment that they would tell of"
        )


def cells_of(minimum: int, hidden: Iterable[HiddenCell]) -> Cells:
    return Cells(
        minimum,
        {(one.run, one.metric, one.segment_dimension, one.segment_value): one.shown_from for one in hidden},
    )


def segment_text(dimension: str | None, value: str | None) -> str | None:
    return None if dimension is None else f"{dimension}={value}"


def sentence_of(entry: TimelineEntry, cells: Cells) -> str:
    """The entry's sentence, or what may be said of a cell that is too small: its sentence holds the numbers."""
    if not cells.hides(entry):
        return entry.sentence
    segment = segment_text(entry.segment_dimension, entry.segment_value)
    return f"{without_numbers(entry.metric, segment, entry.verdict)}; {cells.note}"
