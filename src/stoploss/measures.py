"""Measures: the running state for people to plot, every ten seconds of ledger time and with each finding."""

from __future__ import annotations

from dataclasses import dataclass

from stoploss.commands import Micros, Segment
from stoploss.suppression import MINIMUM_CELL
from stoploss.wire import records


@dataclass(frozen=True, slots=True)
class ArmMeasure:
    """A metric of one arm in one segment value; None is no data, never 0."""

    variant: str
    segment: Segment | None
    metric: str
    n: int
    mean: float | None
    standard_deviation: float | None
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class VerdictMeasure:
    """What a rule says now, with both numbers compared."""

    rule: str
    metric: str | None
    segment: Segment | None
    verdict: str
    reason: str
    observed: float | None
    bound: float | None
    estimate: float | None
    lower: float | None
    upper: float | None
    margin: float | None
    n_control: int
    n_treatment: int
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """minimum_cell: rows in an arm below which people may not read a segment's numbers; here they still are."""

    experiment: str
    run: int
    epoch: int
    at: Micros
    ledger_partition: int
    ledger_offset: int
    arms: tuple[ArmMeasure, ...]
    verdicts: tuple[VerdictMeasure, ...]
    minimum_cell: int = MINIMUM_CELL


def encode(measure: Measure) -> bytes:
    return records.encode("measure", measure)


def decode(value: bytes | None) -> Measure:
    return records.decode(value, {"measure": Measure}, own=True)
