"""Requests in time order, before anybody is assigned to a variant: the columns of evidence without their arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stoploss.evidence import PACKED
from stoploss.experiment import Experiment
from stoploss.intake.rows import Coded, ProjectedRows
from stoploss.ledger import Source

IntArray = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

SOURCE = Source("calibration", "in-memory", 0)
MICROS_PER_HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests to the service; all arrays have one entry per request, in the order of `at`.

    at, start  microseconds since 1970-01-01 UTC: when the last token left, when the request began
    unit       hash of the randomisation unit
    metrics    by column of the evidence ("latency_ms:log"), its integers; metrics.MISSING where there is none
    units      unit of each column's integers, as blocks carry it
    segments   by dimension
    gates      bits of the gates that the request trips, whichever variant serves it
    details    what was seen, by request with a gate
    """

    at: IntArray
    start: IntArray
    unit: Words
    metrics: Mapping[str, IntArray]
    units: Mapping[str, str]
    segments: Mapping[str, Coded]
    gates: npt.NDArray[np.uint32]
    details: Mapping[int, str]

    def __len__(self) -> int:
        return int(self.at.size)

    @property
    def hours(self) -> float:
        """From the first request to the last."""
        return float(self.at[-1] - self.at[0]) / MICROS_PER_HOUR

    @property
    def distinct_units(self) -> int:
        return int(np.unique(self.unit).size)


def of_projected(rows: ProjectedRows) -> Requests:
    """What intake projected, put into time order; the arms that it names are forgotten."""
    order = np.argsort(rows.columns["at"], kind="stable")
    tripped = np.flatnonzero(rows.columns["gates"]).tolist()
    place = np.argsort(order)
    details = dict(zip(place[tripped].tolist(), rows.gate_details, strict=True))
    return Requests(
        at=rows.columns["at"][order].astype(np.int64),
        start=rows.columns["start"][order].astype(np.int64),
        unit=rows.columns["unit"][order].astype(np.uint64),
        metrics={name: values[order] for name, values in rows.metrics.items()},
        units=rows.units,
        segments={name: column.take(order) for name, column in rows.segments.items()},
        gates=rows.columns["gates"][order].astype(np.uint32),
        details=details,
    )


def taken(requests: Requests, rows: IntArray, unit: Words) -> Requests:
    """Some requests, in the order of `rows`, with the units given for them."""
    tripped = np.flatnonzero(requests.gates[rows]).tolist()
    return Requests(
        at=requests.at[rows],
        start=requests.start[rows],
        unit=unit,
        metrics={name: values[rows] for name, values in requests.metrics.items()},
        units=requests.units,
        segments={name: column.take(rows) for name, column in requests.segments.items()},
        gates=requests.gates[rows],
        details={row: requests.details[int(rows[row])] for row in tripped},
    )


@dataclass(frozen=True, slots=True)
class Stamp:
    """The run and epoch that flags stood in while some requests were served."""

    run: int
    epoch: int


def projected(
    requests: Requests,
    part: slice,
    arm: npt.NDArray[np.bool_],
    stamp: Stamp,
    experiment: Experiment,
    harmed: Mapping[str, IntArray],
) -> ProjectedRows:
    """Requests of a stretch as intake hands them to its packer, each in its arm.

    arm     true: the treatment served it; one entry per request of the stretch
    harmed  the columns in which the treatment differs, for all requests as if the treatment had served them
    """
    n = arm.size
    rows = np.arange(part.start, part.stop)
    columns: dict[str, npt.NDArray[Any]] = {name: np.zeros(n, dtype) for name, dtype in PACKED.items()}
    columns |= {
        "offset": rows,
        "unit": requests.unit[part],
        "trace": rows.astype(np.uint64),
        "variant": arm.astype(np.uint8),
        "at": requests.at[part],
        "start": requests.start[part],
        "stamp_run": np.full(n, stamp.run, np.int32),
        "stamp_epoch": np.full(n, stamp.epoch, np.int32),
        "gates": requests.gates[part],
    }
    metrics = {name: values[part] for name, values in requests.metrics.items()}
    metrics |= {name: np.where(arm, values[part], metrics[name]) for name, values in harmed.items()}
    return ProjectedRows(
        experiment=experiment.name,
        spec_hash=experiment.spec_hash,
        outcomes=False,
        sources=(SOURCE,),
        gate_names=tuple(choice.gate for choice in experiment.gates),
        gate_details=tuple(requests.details[row] for row in rows[requests.gates[part] != 0].tolist()),
        columns=columns,
        segments={name: column.take(part) for name, column in requests.segments.items()},
        metrics=metrics,
        units=requests.units,
    )
