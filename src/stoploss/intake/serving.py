"""Served as declared? The model, prompt and routing that a trace shows, against those that its variant declares.

Both sides must be there: what a variant does not declare may be anything, and what a trace does not show is not held
against it. The comparison is of text with text: a variant that declares an alias of its provider's is told apart from
the dated model that answered, and should declare that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from stoploss.intake import segments
from stoploss.intake.batch import holds
from stoploss.intake.quantise import Mask
from stoploss.intake.rows import NONE, Coded

LABELS = {
    "model": "model",
    "prompt_name": "prompt",
    "prompt_version": "prompt version",
    "prompt_hash": "prompt hash",
    "routing": "routing",
}
"""By column of a trace, in the order in which a difference is named: a trace's first one is."""


@dataclass(frozen=True, slots=True)
class Served:
    """By row of the frame.

    comparable  declared and shown in at least one respect
    undeclared  and different in one
    instead     what was seen instead, "model small-2"
    """

    comparable: Mask
    undeclared: Mask
    instead: Coded


def compared(
    frame: pl.DataFrame, declared: Sequence[tuple[int, Mapping[str, str]]], variant: npt.NDArray[np.int16]
) -> Served:
    """declared: what each variant code declares, by column of the frame. Outcomes show nothing."""
    comparable, undeclared = np.zeros(frame.height, np.bool_), np.zeros(frame.height, np.bool_)
    place: dict[str, int] = {}
    instead = np.full(frame.height, NONE, np.int32)
    for code, serving in declared:
        for column in (column for column in LABELS if column in serving and column in frame.columns):
            shown = holds(frame[column] != "") & (variant == code)
            differs = shown & holds(frame[column] != serving[column])
            for row in np.flatnonzero(differs & ~undeclared).tolist():
                seen = f"{LABELS[column]} {segments.clean(frame[column][row])}"
                instead[row] = place.setdefault(seen, len(place))
            comparable |= shown
            undeclared |= differs
    return Served(comparable, undeclared, Coded(tuple(place), instead))
