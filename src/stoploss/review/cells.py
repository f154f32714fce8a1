"""Minimum cells: numbers of a segment that too few traces stand behind are not for people to read."""

from __future__ import annotations

from stoploss.store.rows import TimelineEntry


def too_few(minimum_cell: int, segment_dimension: str | None, *counts: int | None) -> bool:
    """Whether a segment's numbers are hidden: an arm has fewer traces than minimum_cell. Everybody is never a cell.

    >>> too_few(20, "tenant", 19, 400), too_few(20, "tenant", 20, 400), too_few(20, None, 3, 3)
    (True, False, False)
    """
    return segment_dimension is not None and any(n is None or n < minimum_cell for n in counts)


def segment_text(dimension: str | None, value: str | None) -> str | None:
    return None if dimension is None else f"{dimension}={value}"


def is_hidden(entry: TimelineEntry, minimum_cell: int) -> bool:
    """Whether a journal entry speaks of a cell that is too small."""
    return too_few(minimum_cell, entry.segment_dimension, entry.n_control, entry.n_treatment)


def sentence_of(entry: TimelineEntry, minimum_cell: int) -> str:
    """The entry's sentence, or what may be said of a cell that is too small: its sentence holds the numbers."""
    if not is_hidden(entry, minimum_cell):
        return entry.sentence
    segment = segment_text(entry.segment_dimension, entry.segment_value)
    return f"{entry.metric} for {segment} is {entry.verdict}; {hidden_note(minimum_cell)}"


def hidden_note(minimum_cell: int) -> str:
    return f"numbers hidden: fewer than {minimum_cell} traces in an arm"
