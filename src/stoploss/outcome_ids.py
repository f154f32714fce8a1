"""What an outcome says, as one number: of which trace, when, and which value of which score.

Two outcomes that say the same are one that was sent twice: by a client that was not told of its success, or by a person
who sent a dead letter again. Two that differ in time alone are two, such as an item that is graded anew.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)


def outcome_ids(trace: Ids, at: npt.NDArray[np.int64], metrics: Mapping[str, npt.NDArray[np.int64]]) -> Ids:
    """One number a row; equal where trace, time and all values are equal, and else by chance of 2⁻⁶⁴ only.

    >>> same, other = np.array([7, 7], np.uint64), np.array([1, 1])
    >>> ids = outcome_ids(same, other, {"helpfulness": np.array([5, 6])})
    >>> bool(ids[0] == ids[1])
    False
    """
    said = _mixed(trace ^ _mixed(at.astype(np.uint64)))
    for name in sorted(metrics):
        said = _mixed(said ^ metrics[name].astype(np.uint64))
    return said


def _mixed(words: Ids) -> Ids:
    """The output function of SplitMix64 (Steele, Lea, Flood 2014), elementwise; a bijection of 64-bit words."""
    mixed = words + _STEP
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
