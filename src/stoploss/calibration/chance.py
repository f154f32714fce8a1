"""Chance as a function of its key: the same numbers for the same seed on every machine, in any order of asking."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stoploss.intake.hashing import splitmix64

Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


def keyed(words: Words, *key: int) -> Words:
    """A 64-bit word for each given one, independent of those of any other key.

    >>> [hex(word) for word in keyed(np.arange(2, dtype=np.uint64), 7, 1).tolist()]
    ['0x84b78e2d4a8feb25', '0x3a4bea66e55e4ce2']
    """
    mixed = words
    for part in key:
        mixed = splitmix64(mixed ^ splitmix64(np.array([part], np.uint64)))
    return splitmix64(mixed)


def words(n: int, *key: int) -> Words:
    """n words of a key."""
    return keyed(np.arange(n, dtype=np.uint64), *key)


def uniform(some: Words) -> Floats:
    """Words as numbers in [0, 1), of their upper 53 bits."""
    return (some >> np.uint64(11)).astype(np.float64) * 2.0**-53
