"""Segment values: a closed alphabet, a bounded length, dictionary codes.

A value comes from traffic and ends on dashboards, in commands and in file names, so only letters and digits of any
script, their combining marks, space and `- _ . : / @ +` pass, 64 bytes of them; anything else becomes the value
`invalid`. An empty value is none.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import numpy as np
import polars as pl

from stoploss.experiment import CROSS
from stoploss.intake.rows import NONE, Coded, Codes

LONGEST_BYTES = 64
INVALID = "invalid"
_PLAIN = re.compile(r"[A-Za-z0-9 _.:/@+-]{0,64}")
_PUNCTUATION = frozenset(" _.:/@+-")


def dictionary(column: pl.Series) -> tuple[list[str], Codes]:
    """Distinct values of a string column in order of appearance, and each row's place among them; -1: null."""
    encoded = column.to_arrow().dictionary_encode()
    codes: Codes = encoded.indices.fill_null(NONE).to_numpy().astype(np.int32, copy=False)
    return encoded.dictionary.to_pylist(), codes


def coded(column: pl.Series) -> Coded:
    """A string column, cleaned and dictionary-coded; null has no value."""
    distinct, codes = dictionary(column)
    place: dict[str, int] = {}
    cleaned = [place.setdefault(text, len(place)) if text else NONE for text in map(clean, distinct)]
    found: Codes = np.array([*cleaned, NONE], np.int32)[codes]
    return Coded(tuple(place), found)


def clean(value: str) -> str:
    """A value as it may be shown; empty stays empty.

    >>> clean("acme GmbH"), clean("a\\u202eb")
    ('acme GmbH', 'invalid')
    """
    return _clean(value) if len(value) <= LONGEST_BYTES else INVALID


@lru_cache(maxsize=8_192)
def _clean(value: str) -> str:
    if _PLAIN.fullmatch(value) or (len(value.encode()) <= LONGEST_BYTES and all(map(_allowed, value))):
        return value
    return INVALID


def _allowed(char: str) -> bool:
    return char in _PUNCTUATION or unicodedata.category(char)[0] in "LMN"


def crossed(left: Coded, right: Coded) -> Coded:
    """Both values of a row as one, "acme×de"; none where either has none."""
    width = len(right.values)
    pairs = left.codes.astype(np.int64) * width + right.codes
    pairs[(left.codes == NONE) | (right.codes == NONE)] = NONE
    used, codes = np.unique(pairs, return_inverse=True)
    names = tuple(f"{left.values[pair // width]}{CROSS}{right.values[pair % width]}" for pair in used if pair != NONE)
    missing = int(used.size > 0 and used[0] == NONE)
    return Coded(names, (codes - missing).astype(np.int32))
