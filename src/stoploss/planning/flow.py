"""How requests and units come in with time: as recorded, and beyond that as in the recording's second half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stoploss.calibration.requests import MICROS_PER_HOUR, Requests

POINTS = 200


@dataclass(frozen=True, slots=True)
class Flow:
    """Cumulative counts at some hours after the start, rising; beyond the last hour they go on at `beyond` per hour.

    requests, units  of both variants; a unit counts once, when it first comes
    beyond           requests and new units per hour
    """

    hours: tuple[float, ...]
    requests: tuple[float, ...]
    units: tuple[float, ...]
    beyond: tuple[float, float]

    def requests_by(self, hours: float) -> float:
        return _at(hours, self.hours, self.requests, self.beyond[0])

    def units_by(self, hours: float) -> float:
        return _at(hours, self.hours, self.units, self.beyond[1])

    def hours_until_requests(self, n: float) -> float:
        return _until(n, self.requests, self.hours, self.beyond[0])

    def hours_until_units(self, n: float) -> float:
        """Infinite where no new unit comes any more."""
        return _until(n, self.units, self.hours, self.beyond[1])


def steady(requests_per_hour: float, requests_per_unit: float) -> Flow:
    """Stated, not recorded: requests at one rate, and each unit `requests_per_unit` of them within a day.

    >>> steady(600, 2).units_by(10)
    3000.0
    """
    rate = requests_per_hour / requests_per_unit
    return Flow((0.0, 1.0), (0.0, requests_per_hour), (0.0, rate), (requests_per_hour, rate))


def recorded(requests: Requests) -> Flow:
    """As a recording had it."""
    at = (requests.at - requests.at[0]) / MICROS_PER_HOUR
    _, first = np.unique(requests.unit, return_index=True)
    new = np.zeros(len(requests), np.int64)
    new[first] = 1
    known = np.cumsum(new)
    last = max(float(at[-1]), 1e-6)
    hours = np.linspace(0.0, last, POINTS)
    seen = np.searchsorted(at, hours, side="right")
    units = known[np.maximum(seen - 1, 0)] * (seen > 0)
    half = POINTS // 2
    rest = last - float(hours[half])
    beyond = (float(seen[-1] - seen[half]) / rest, float(units[-1] - units[half]) / rest)
    return Flow(tuple(hours.tolist()), tuple(map(float, seen)), tuple(map(float, units)), beyond)


def _at(x: float, xs: tuple[float, ...], ys: tuple[float, ...], beyond: float) -> float:
    return float(np.interp(x, xs, ys)) if x <= xs[-1] else ys[-1] + (x - xs[-1]) * beyond


def _until(y: float, ys: tuple[float, ...], xs: tuple[float, ...], beyond: float) -> float:
    if y <= ys[-1]:
        return float(np.interp(y, ys, xs))
    return xs[-1] + (y - ys[-1]) / beyond if beyond > 0 else float("inf")
