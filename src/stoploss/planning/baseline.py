"""What a metric is like in the control variant before the experiment: its mean, and how much it varies by unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stoploss.calibration.requests import IntArray, Requests
from stoploss.metrics import MISSING
from stoploss.units import CAP_PER_DAY, DAY_MICROS, occurrence_rank

PARTS = (8, 4, 2, 1)


@dataclass(frozen=True, slots=True)
class Likeness:
    """By how much units that come back raise the variance of the mean, at least 1.

    after     counted requests, rising; factors: of as many requests
    per_unit  requests of each unit after the last of them; later on, the factor grows with those beyond the first
    """

    after: tuple[float, ...]
    factors: tuple[float, ...]
    per_unit: float

    def at(self, requests: float, per_unit: float) -> float:
        """The factor after some counted requests, when there have been `per_unit` of each unit.

        >>> Likeness((100.0, 400.0), (1.2, 2.0), 4.0).at(250.0, 3.0), Likeness((1.0,), (2.0,), 4.0).at(9.0, 7.0)
        (1.6, 3.0)
        """
        if requests <= self.after[-1] or self.per_unit <= 1:
            return float(np.interp(requests, self.after, self.factors))
        return 1 + (self.factors[-1] - 1) * max(1.0, (per_unit - 1) / (self.per_unit - 1))


@dataclass(frozen=True, slots=True)
class Baseline:
    """One column of the evidence.

    mean        in the column's integer unit; deviation: of a single request
    likeness    of the requests of one unit
    counted     share of requests that count: with a value, and among the first ten of their unit on a day
    first_rate  of a rate: share of units whose first request has the event
    event_units of a rate: share of units with the event in any request
    """

    mean: float
    deviation: float
    likeness: Likeness
    counted: float
    first_rate: float
    event_units: float


def recorded(requests: Requests, x: IntArray | None) -> Baseline | None:
    """Of recorded requests and a value of each; None where there is none."""
    if x is None or not (known := x != MISSING).any():
        return None
    unit = np.unique(requests.unit, return_inverse=True)[1]
    counted = known & (_rank_of_the_day(requests, unit) < CAP_PER_DAY)
    values, owner = x[counted].astype(np.float64), unit[counted]
    first = known & (occurrence_rank(np.where(known, unit, -1)) == 0)
    events = np.unique(unit[known & (x != 0)]).size
    return Baseline(
        mean=math.fsum(values.tolist()) / values.size,
        deviation=math.sqrt(_variance(values)),
        likeness=_likeness(values, owner),
        counted=values.size / len(requests),
        first_rate=float((x[first] != 0).mean()),
        event_units=events / np.unique(unit[known]).size,
    )


def _likeness(values: npt.NDArray[np.float64], owner: IntArray) -> Likeness:
    """Of the first eighth, fourth, half and all of the requests."""
    sizes = [max(1, values.size // part) for part in PARTS]
    factors = [_clustering(values[:size], owner[:size]) for size in sizes]
    return Likeness(tuple(map(float, sizes)), tuple(factors), values.size / np.unique(owner).size)


def _clustering(values: npt.NDArray[np.float64], owner: IntArray) -> float:
    """Variance of the units' sums around the mean over what it would be if requests were independent."""
    variance = _variance(values)
    sums = np.bincount(owner, values - values.mean())
    return max(1.0, math.fsum((sums * sums).tolist()) / (values.size * variance)) if variance else 1.0


def _variance(values: npt.NDArray[np.float64]) -> float:
    apart = values - values.mean()
    return math.fsum((apart * apart).tolist()) / values.size


def _rank_of_the_day(requests: Requests, unit: IntArray) -> IntArray:
    day = requests.at // DAY_MICROS
    return occurrence_rank(unit * (int(day.max()) + 1) + day)


def stated(mean: float, deviation: float | None, *, per_unit: float, icc: float) -> Baseline:
    """Stated by a person, in the column's integer unit; a rate needs no deviation.

    per_unit  requests of a unit, of which ten a day count; icc  correlation of one unit's requests, in [0, 1)

    >>> stated(0.02, None, per_unit=4, icc=0.1).likeness.factors
    (1.3,)
    """
    own = math.sqrt(mean * (1 - mean)) if deviation is None else deviation
    counted = min(1.0, CAP_PER_DAY / per_unit)
    alike = per_unit * counted
    without = (1 - mean) ** per_unit if 0 <= mean <= 1 else 0.0
    return Baseline(mean, own, Likeness((1.0,), (1 + (alike - 1) * icc,), alike), counted, mean, 1 - without)
