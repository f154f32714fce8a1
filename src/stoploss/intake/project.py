"""A batch to the rows of one experiment: codes, hashes, times, gate bits, segments and exact integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from stoploss.evidence import CONTROL, TREATMENT, UNDECLARED
from stoploss.intake.batch import Batch, Rows
from stoploss.intake.gates import tripped
from stoploss.intake.hashing import salted
from stoploss.intake.quantise import Integers, Mask, quantise
from stoploss.intake.rows import ProjectedRows
from stoploss.intake.subject import NOT_ASSIGNED, Codes, Subject
from stoploss.intake.watched import MetricPlan, Watched
from stoploss.ledger import Source

Places = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Share:
    """The judged rows of a batch that one experiment takes part in, rising, and how each is assigned to it.

    variant  place of its name among the batch's variants
    consent  1 the user agreed, 0 opted out, -1 was not asked
    """

    rows: Rows
    variant: Places
    run: Rows
    epoch: Rows
    consent: Places

    def codes(self, batch: Batch, watched: Watched) -> Codes:
        """0 control, 1 treatment, 255 a variant that the spec does not declare."""
        names, _ = batch.variants
        declared = {watched.arms[code].name: code for code in (CONTROL, TREATMENT)}
        known = [*(declared.get(name, UNDECLARED) for name in names), UNDECLARED]  # the last: of no name
        codes: Codes = np.array(known, np.int16)[self.variant]
        return codes

    def subject(self, batch: Batch, watched: Watched) -> Subject:
        variant, consent = np.full((2, batch.rows), NOT_ASSIGNED, np.int16)
        variant[self.rows], consent[self.rows] = self.codes(batch, watched), self.consent
        return Subject(batch, watched, variant, consent)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rows of a batch come from.

    sources  in the order of their rows
    source   of each row, as a place in `sources`; rising
    offset   of each row
    """

    sources: tuple[Source, ...]
    source: npt.NDArray[np.int32]
    offset: Rows


def project_traces(batch: Batch, watched: Watched, share: Share, origin: Origin) -> ProjectedRows:
    """One row per trace of the share.

    A shadow run is no exposure and is never pooled with live traces: its row is there only where it trips a gate,
    and all its metrics are missing.
    """
    subject = share.subject(batch, watched)
    gates, seen = tripped(subject)
    kept = np.flatnonzero(~batch.shadow[share.rows] | (gates[share.rows] != 0))
    rows = share.rows[kept]
    measured = ~batch.shadow[rows]
    return _rows(
        subject,
        _Kept(share, kept, batch.start[rows], gates[rows]),
        origin,
        details=tuple(seen[row] for row in rows[gates[rows] != 0].tolist()),
        metrics={plan.column: _metric(subject, plan, rows, measured) for plan in watched.metrics},
        outcomes=False,
    )


def project_outcomes(batch: Batch, watched: Watched, share: Share, origin: Origin) -> ProjectedRows:
    """One row per outcome of the share that the experiment declares a score for.

    All its scores are columns of one block, for a source's rows must stay in the order of their offsets; a row has a
    value in the column of its name, and in no other. What is said of a shadow run is no evidence.
    """
    names = batch.frame["name"][share.rows]
    plans = [plan for plan in watched.metrics if plan.is_score]
    kept = np.flatnonzero(declared_outcomes(names, watched) & ~batch.shadow[share.rows])
    rows = share.rows[kept]
    values = batch.column("value")[rows]
    named = names[kept]
    return _rows(
        share.subject(batch, watched),
        _Kept(share, kept, batch.at[rows], np.zeros(rows.size, np.uint32)),
        origin,
        details=(),
        metrics={
            plan.column: quantise(values, (named == plan.metric.name).to_numpy(), plan.metric, plan.transform)
            for plan in plans
        },
        outcomes=True,
    )


def declared_outcomes(names: pl.Series, watched: Watched) -> Mask:
    return names.is_in(list(watched.experiment.declared_scores)).to_numpy()


@dataclass(frozen=True, slots=True)
class _Kept:
    """Which rows of a share become rows of evidence (places in the share), with what projection found for each."""

    share: Share
    places: npt.NDArray[np.int64]
    start: Rows
    gates: npt.NDArray[np.uint32]


def _rows(
    subject: Subject,
    kept: _Kept,
    origin: Origin,
    *,
    details: tuple[str, ...],
    metrics: dict[str, Integers],
    outcomes: bool,
) -> ProjectedRows:
    batch, watched = subject.batch, subject.watched
    rows = kept.share.rows[kept.places]
    unit = batch.unit(watched.experiment.spec.assignment.randomisation_unit)[rows]
    columns: dict[str, npt.NDArray[Any]] = {
        "source": origin.source[rows],
        "offset": origin.offset[rows],
        "unit": salted(unit, watched.name, batch.salt),
        "trace": batch.trace[rows],
        "variant": subject.variant[rows].astype(np.uint8),
        "at": batch.at[rows],
        "start": kept.start,
        "stamp_run": kept.share.run[kept.places],
        "stamp_epoch": kept.share.epoch[kept.places],
        "gates": kept.gates,
    }
    return ProjectedRows(
        experiment=watched.name,
        spec_hash=watched.spec_hash,
        outcomes=outcomes,
        sources=origin.sources,
        gate_names=watched.gates,
        gate_details=details,
        columns=columns,
        segments={dimension: subject.segment(dimension).take(rows) for dimension in watched.segments},
        metrics=metrics,
        units={plan.column: plan.unit for plan in watched.metrics if plan.column in metrics},
    )


def _metric(subject: Subject, plan: MetricPlan, rows: Rows, measured: Mask) -> Integers:
    values, present = subject.metric(plan)
    return quantise(values[rows], present[rows] & measured, plan.metric, plan.transform)
