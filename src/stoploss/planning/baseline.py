"""What a metric is like in the control variant before the experiment: its mean, and how much it varies by unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stoploss.calibration.requests import IntArray, Requests
from stoploss.metrics import MISSING
from stoploss.units import CAP_PER_DAY, DAY_MICROS, occurrence_rank


@dataclass(frozen=True, slots=True)
class Baseline:
    """One column of the evidence.

    mean        in the column's integer unit
    deviation   of one request's share in the mean's error, units' likeness included: the standard error of a mean of
                n requests is deviation / sqrt(n)
    counted     share of requests that count: with a value, and among the first ten of their unit on a day
    first_rate  of a rate: share of units whose first request has the event
    event_units of a rate: share of units with the event in any request
    """

    mean: float
    deviation: float
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
    mean = math.fsum(values.tolist()) / values.size
    residual = np.bincount(owner, values - mean)
    first = known & (occurrence_rank(np.where(known, unit, -1)) == 0)
    events = np.unique(unit[known & (x != 0)]).size
    return Baseline(
        mean=mean,
        deviation=math.sqrt(math.fsum((residual * residual).tolist()) / values.size),
        counted=values.size / len(requests),
        first_rate=float((x[first] != 0).mean()),
        event_units=events / np.unique(unit[known]).size,
    )


def _rank_of_the_day(requests: Requests, unit: IntArray) -> IntArray:
    day = requests.at // DAY_MICROS
    return occurrence_rank(unit * (int(day.max()) + 1) + day)


def stated(mean: float, deviation: float | None, *, per_unit: float, icc: float) -> Baseline:
    """Stated by a person, in the column's integer unit; a rate needs no deviation.

    per_unit  requests of a unit, of which ten a day count; icc  correlation of one unit's requests, in [0, 1)

    >>> round(stated(0.02, None, per_unit=4, icc=0.1).deviation, 6)
    0.159625
    """
    own = math.sqrt(mean * (1 - mean)) if deviation is None else deviation
    counted = min(1.0, CAP_PER_DAY / per_unit)
    likeness = 1 + (per_unit * counted - 1) * icc
    without = (1 - mean) ** per_unit if 0 <= mean <= 1 else 0.0
    return Baseline(mean, own * math.sqrt(likeness), counted, mean, 1 - without)
