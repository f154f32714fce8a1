"""A batch as one experiment sees it: who takes part, and what depends on what its variants declare."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from stoploss.evidence import UNDECLARED
from stoploss.experiment import SERVED_INSTEAD
from stoploss.intake import segments, serving
from stoploss.intake.batch import Batch, Column
from stoploss.intake.quantise import Mask
from stoploss.intake.rows import Coded
from stoploss.intake.watched import Arm, MetricPlan, Watched
from stoploss.metrics import UNDECLARED_SERVING

Codes = npt.NDArray[np.int16]
Seen = dict[int, str]
"""What was seen, by row of the frame."""

NOT_ASSIGNED = -1


@dataclass(frozen=True)
class Subject:
    """One experiment's view of a batch, all arrays by row of its frame.

    variant  code of each row, NOT_ASSIGNED where it takes no part
    consent  1 the user agreed to take part, 0 opted out, -1 was not asked
    """

    batch: Batch
    watched: Watched
    variant: Codes
    consent: Codes

    @property
    def assigned(self) -> Mask:
        assigned: Mask = self.variant != NOT_ASSIGNED
        return assigned

    @property
    def arms(self) -> list[tuple[int, Arm]]:
        """Variant codes with what they declare; an undeclared variant (255) declares nothing."""
        return [*enumerate(self.watched.arms), (UNDECLARED, self.watched.stranger)]

    @cached_property
    def served(self) -> serving.Served:
        return serving.compared(self.batch.frame, [(code, arm.serving) for code, arm in self.arms], self.variant)

    def segment(self, dimension: str) -> Coded:
        return self.served.instead if dimension == SERVED_INSTEAD else self.batch.segment(dimension)

    def metric(self, plan: MetricPlan) -> Column:
        """Values of a metric and which rows have one."""
        match plan.metric.name:
            case "pii_suspected_rate":
                return self._suspected().astype(np.float64), self.batch.output.scanned
            case name if name == UNDECLARED_SERVING:
                return self.served.undeclared.astype(np.float64), self.served.comparable
            case name:
                return self.batch.score(name) if plan.is_score else self.batch.metric(name)

    def _suspected(self) -> Mask:
        suspected = np.zeros(self.batch.rows, np.bool_)
        for code, arm in self.arms:
            suspected |= (self.variant == code) & (self.batch.output.suspected(arm.pii) != 0)
        return suspected

    def flagged(self, flag: str) -> Seen:
        """Rows that the service itself flagged."""
        rows = self.batch.flagged(flag)
        rows = rows[self.variant[rows] != NOT_ASSIGNED]
        return dict.fromkeys(rows.tolist(), f"the service flagged {flag}")


def first_of_each(rows: npt.NDArray[np.int64], values: pl.Series, chosen: Mask) -> list[tuple[int, str]]:
    """The first chosen step of each row, with its value as it may be shown."""
    places = np.flatnonzero(chosen)
    if places.size == 0:
        return []
    found, first = np.unique(rows[places], return_index=True)
    shown = [segments.clean(value or "") for value in values[places[first]]]
    return list(zip(found.tolist(), shown, strict=True))
