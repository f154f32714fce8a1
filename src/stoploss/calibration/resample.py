"""Other weeks that could have been: recorded requests drawn again by unit, whose requests stay together in their times.

Drawn with replacement, as in a bootstrap; a unit that is drawn twice becomes two units, who ask at the same moments.
Source: cluster bootstrap, Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stoploss.calibration.chance import uniform, words
from stoploss.calibration.requests import IntArray, Requests, taken

UNITS, NAMES = 1, 2


@dataclass(frozen=True, slots=True)
class Resampler:
    """Draws units of a recording.

    order   rows sorted by unit, each unit's in time order
    starts  place of each unit's first row in `order`; sizes: how many it has
    """

    requests: Requests
    order: IntArray = field(init=False)
    starts: IntArray = field(init=False)
    sizes: IntArray = field(init=False)

    def __post_init__(self) -> None:
        _, unit, sizes = np.unique(self.requests.unit, return_inverse=True, return_counts=True)
        object.__setattr__(self, "order", np.argsort(unit, kind="stable"))
        object.__setattr__(self, "starts", np.cumsum(sizes) - sizes)
        object.__setattr__(self, "sizes", sizes)

    def draw(self, *key: int) -> Requests:
        """As many units as were recorded, chosen by the key alone."""
        n = self.sizes.size
        chosen = (uniform(words(n, UNITS, *key)) * n).astype(np.int64)
        sizes = self.sizes[chosen]
        before = np.cumsum(sizes) - sizes
        places = np.repeat(self.starts[chosen] - before, sizes) + np.arange(int(sizes.sum()))
        rows, copy = self.order[places], np.repeat(np.arange(n), sizes)
        in_time = np.argsort(rows, kind="stable")
        return taken(self.requests, rows[in_time], words(n, NAMES, *key)[copy[in_time]])
