"""What numpy does in several calls where one is enough: with 200 rows a block the calls cost more than the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def indices(chosen: npt.NDArray[Any]) -> IntArray:
    """np.flatnonzero of an array of one dimension, in a third of its time.

    >>> indices(np.array([False, True, True])).tolist()
    [1, 2]
    """
    found: IntArray = chosen.nonzero()[0]
    return found
