"""What one run remembers of its pace: how long its stage was watched and by whom it was met, and what holds the ramp.

Time is ledger time between ticks. Where no tick was written for longer than GAP nobody watched, so an outage counts for
no more than that: what was passed after it is at most one stage.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stoploss.commands import Micros
from stoploss.rules.rows import TREATMENT, Rows
from stoploss.stats import hyperloglog
from stoploss.stats.hyperloglog import Registers

GAP = 5_000_000
STAGE = "stage_"
"""What every kind begins with that is said of a stage of the ramp."""


@dataclass(slots=True)
class Pace:
    """
    back_to    share that exposure returns to when the windows open; None: no window has lowered it
    ticked_at  ledger time of the last tick
    watched    microseconds for which the stage was watched
    met        units that met the treatment in the stage, counted as hyperloglog does
    held       why the ramp goes on only by a person; empty: it goes on by itself, where the spec says so
    kind       of what was last said of the ramp, and stands: the same as a sentence, for people
    """

    back_to: float | None = None
    ticked_at: Micros = 0
    watched: Micros = 0
    met: Registers = field(default_factory=hyperloglog.none)
    held: str = ""
    kind: str = ""
    stands: str = ""

    def tick(self, at: Micros) -> Micros:
        """How much of the time since the last tick was watched."""
        passed = min(at - self.ticked_at, GAP) if self.ticked_at else 0
        self.ticked_at = at
        return passed

    def meet(self, rows: Rows) -> None:
        """Units that met the treatment at the share of the stage."""
        if self.back_to is None and rows.exposure:
            hyperloglog.add(self.met, rows.unit[rows.compared & (rows.arm == TREATMENT)])

    @property
    def units(self) -> int:
        return hyperloglog.estimate(self.met)

    def begin_stage(self) -> None:
        self.watched, self.met = 0, np.zeros_like(self.met)
        self.held = self.kind = self.stands = ""

    def end_ramp(self) -> None:
        """People have decided: what was said of a stage holds no more. What was said of windows and the watch does."""
        if self.kind.startswith(STAGE):
            self.kind = self.stands = ""

    def lowered(self, share: float, why: str) -> None:
        """Somebody or something wants no more than this share: neither a window nor the ramp gives more by itself."""
        self.held = self.held or why
        if self.back_to is not None:
            self.back_to = min(self.back_to, share)
