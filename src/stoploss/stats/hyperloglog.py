"""How many distinct units there were, within 2 %, from 4,096 small numbers that do not depend on order or repeats.

Source: Flajolet, Fusy, Gandouet and Meunier 2007, HyperLogLog: the analysis of a near-optimal cardinality estimation
algorithm; below 2.5 registers a unit, linear counting (Whang et al. 1990). With 64-bit hashes no upper correction.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

BITS = 12
REGISTERS = 1 << BITS
_REST_BITS = 64 - BITS
_ALPHA = 0.7213 / (1 + 1.079 / REGISTERS)

Registers = npt.NDArray[np.uint8]


def none() -> Registers:
    return np.zeros(REGISTERS, np.uint8)


def add(registers: Registers, hashes: npt.NDArray[np.uint64]) -> None:
    """Takes in the units of these uniform 64-bit hashes, in place."""
    place = (hashes & np.uint64(REGISTERS - 1)).astype(np.int64)
    rest = (hashes >> np.uint64(BITS)).astype(np.float64)  # 52 bits: exact
    # Leading zeros of the rest, and one: its length in bits is the exponent.
    rank = _REST_BITS + 1 - np.frexp(rest)[1]
    np.maximum.at(registers, place, rank.astype(np.uint8))


def estimate(registers: Registers) -> int:
    """Distinct units, to the nearest whole one.

    >>> found = none()
    >>> add(found, np.random.default_rng(1).integers(0, 2**64, 100_000, dtype=np.uint64))
    >>> estimate(found)
    99469
    """
    counts = np.bincount(registers, minlength=_REST_BITS + 2).tolist()
    # Each term is a whole number times a power of two, so their sum is the same in any order.
    total = math.fsum(count * 2.0**-rank for rank, count in enumerate(counts))
    raw, empty = _ALPHA * REGISTERS * REGISTERS / total, counts[0]
    return round(REGISTERS * math.log(REGISTERS / empty) if empty and raw <= 2.5 * REGISTERS else raw)
