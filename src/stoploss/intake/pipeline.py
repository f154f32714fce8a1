"""Intake's core: a fetched batch of one source partition to evidence rows, a masked frame, dead letters and counts.

    decode ─▶ check ─▶ project per experiment ─▶ evidence rows
       │        │  └──▶ mask ──────────────────▶ clean frame
       └────────┴──────────────────────────────▶ rejects

Decisions, in one place:
- A number that cannot be (NaN, negative, beyond exact range) is a dead letter; a time that cannot be is quarantined:
  stored with its reason, not judged. Both count by variant, since losing rows of one arm alone biases the experiment.
- A record of no experiment is counted and dropped, never stored; one of an unknown experiment is stored, not judged.
- A trace id that came before with other content is a dead letter; with the same, the judge drops the repeat.
- An outcome without its trace's context is the resolver's (streams/resolver.py); what comes back from it without one is
  a dead letter.
- Texts are always masked before they are stored, whatever `privacy.maskText` says: raw text needs a grant of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from stoploss.experiment import OTHER
from stoploss.intake import bare, clean, segments, validate
from stoploss.intake.batch import Batch, Rows
from stoploss.intake.canaries import without_canaries
from stoploss.intake.project import Share, project_outcomes, project_traces
from stoploss.intake.quantise import Mask
from stoploss.intake.repeats import Remembered
from stoploss.intake.results import Counts, IntakeResult, RawRecord, Reject
from stoploss.intake.rows import ProjectedRows
from stoploss.intake.watched import Watched
from stoploss.ledger import RejectCount, Source
from stoploss.spec.base import NAME
from stoploss.wire.traces import Decoded, Resolver, decode_values

MOST_NAMES_COUNTED = 64
UNDECLARED_VARIANT = "undeclared"
NO_STAMP = -1
_NOWHERE: Rows = np.zeros(0, np.int64)

Project = Callable[[Batch, Watched, Share, Source, Rows], ProjectedRows]


@dataclass(frozen=True, slots=True)
class _Checked:
    """A decoded batch and what is wrong with which of its rows.

    waiting  rows that are not looked at here: bare outcomes, which the resolver brings again
    """

    records: Sequence[RawRecord]
    decoded: Decoded
    batch: Batch
    offsets: Rows
    broker_micros: Rows
    faults: validate.Faults
    untimely: Mapping[int, str]
    waiting: Rows = field(default_factory=lambda: _NOWHERE)
    judged: Mask = field(init=False)

    def __post_init__(self) -> None:
        judged = np.ones(self.batch.rows, np.bool_)
        judged[[*self.faults, *self.untimely]] = False
        judged[self.waiting] = False
        object.__setattr__(self, "judged", judged)


def process_traces(
    records: Sequence[RawRecord],
    source: Source,
    watched: Mapping[str, Watched],
    *,
    salt: bytes,
    now_micros: int,
    resolve: Resolver | None = None,
    seen: Remembered | None = None,
) -> IntakeResult:
    """Traces of one source partition, in the order of their offsets.

    watched     by experiment name; names that it lacks are counted, never judged
    salt        key of the hashes of units and traces, the same in every worker of the installation
    now_micros  stands in for the broker's time where a record has none, or one that lies ahead of it
    resolve     Confluent schema ids, where a registry is configured
    seen        what came before under each trace id; None: nobody asks
    """
    checked = _check(records, "trace", salt, now_micros, resolve)
    if seen is not None:
        checked = _without_reused_ids(checked, seen)
    shares = dict(_shares(checked, watched))
    rows = _project(checked, shares, watched, source, project_traces)
    assigned = np.zeros(checked.batch.rows, np.bool_)
    assigned[checked.batch.items("assignments").rows] = True
    stored = without_canaries(_stored(checked) & assigned, checked.offsets, rows)
    return IntakeResult(
        rows=rows,
        clean=clean.traces(checked.batch.frame, checked.batch.output, _standing(checked, source), stored),
        rejects=_rejects(checked),
        counts=_counts(checked, watched, unassigned=int(np.count_nonzero(checked.judged & ~assigned))),
        tripped_gate=any(part.gate_details for part in rows.values()),
    )


def process_outcomes(
    records: Sequence[RawRecord],
    source: Source,
    watched: Mapping[str, Watched],
    *,
    salt: bytes,
    now_micros: int,
    resolve: Resolver | None = None,
    looked_up: bool = False,
) -> IntakeResult:
    """Outcomes that carry their trace's context; as process_traces. Outcomes trip no gates.

    looked_up  they come from the resolver: what is still bare has no trace. Otherwise bare ones are left to it
    """
    checked = _check(records, "outcome", salt, now_micros, resolve)
    checked = _without_unresolved(checked) if looked_up else _without_bare(checked)
    shares = dict(_shares(checked, watched))
    rows = _project(checked, shares, watched, source, project_outcomes)
    return IntakeResult(
        rows=rows,
        clean=clean.outcomes(checked.batch.frame, _standing(checked, source), _stored(checked)),
        rejects=_rejects(checked),
        counts=_counts(checked, watched, undeclared=_undeclared_outcomes(checked, shares, watched)),
        tripped_gate=False,
    )


def _check(records: Sequence[RawRecord], name: str, salt: bytes, now_micros: int, resolve: Resolver | None) -> _Checked:
    decoded = decode_values([record.value for record in records], name, resolve)
    batch = Batch(decoded.frame, salt)
    stamps = np.array([record.timestamp_ms for record in records], np.int64)[decoded.positions]
    broker_micros = validate.broker_times(stamps, now_micros)
    outcomes = name == "outcome"
    faults = validate.outcome_faults(batch) if outcomes else validate.trace_faults(batch)
    oldest = validate.OUTCOME_AGE_MICROS if outcomes else validate.TRACE_AGE_MICROS
    untimely = validate.time_faults(batch.at, broker_micros, oldest)
    offsets = np.array([record.offset for record in records], np.int64)[decoded.positions]
    late = {row: reason for row, reason in untimely.items() if row not in faults}
    return _Checked(records, decoded, batch, offsets, broker_micros, faults, late)


def _without_reused_ids(checked: _Checked, seen: Remembered) -> _Checked:
    rows = np.flatnonzero(checked.judged)
    values = [checked.records[place].value or b"" for place in checked.decoded.positions[rows].tolist()]
    reused = validate.reused_ids(rows, seen.contradicting(checked.batch.trace[rows], values))
    return replace(checked, faults={**checked.faults, **reused}) if reused else checked


def _without_bare(checked: _Checked) -> _Checked:
    """Whether they are timely is asked when they come again, under the broker's stamp of now."""
    sizes = bare.sizes_of(checked.decoded, [record.value for record in checked.records])
    waiting, too_large = bare.bare_rows(checked.batch, checked.faults, sizes)
    if not waiting.size and not too_large:
        return checked
    left_out = {*waiting.tolist(), *too_large}
    untimely = {row: reason for row, reason in checked.untimely.items() if row not in left_out}
    return replace(checked, faults={**checked.faults, **too_large}, untimely=untimely, waiting=waiting)


def _without_unresolved(checked: _Checked) -> _Checked:
    unresolved = bare.unresolved(checked.batch, checked.faults)
    untimely = {row: reason for row, reason in checked.untimely.items() if row not in unresolved}
    return replace(checked, faults={**checked.faults, **unresolved}, untimely=untimely) if unresolved else checked


def _stored(checked: _Checked) -> Mask:
    stored = np.ones(checked.batch.rows, np.bool_)
    stored[list(checked.faults)] = False
    stored[checked.waiting] = False
    return stored


def _standing(checked: _Checked, source: Source) -> clean.Standing:
    return clean.Standing(source, checked.offsets, checked.broker_micros, checked.untimely)


def _shares(checked: _Checked, watched: Mapping[str, Watched]) -> Iterator[tuple[str, Share]]:
    """The judged rows of each watched experiment."""
    assigned = checked.batch.items("assignments")
    if not len(assigned):
        return
    names, codes = segments.dictionary(assigned.fields["experiment"])
    judged = checked.judged[assigned.rows]
    run, epoch = _stamps(assigned.fields["run"]), _stamps(assigned.fields["epoch"])
    for code, name in enumerate(names):
        places = np.flatnonzero((codes == code) & judged) if name in watched else _NOWHERE
        if places.size:
            variant, consent = (assigned.fields[field][places] for field in ("variant", "consent"))
            yield name, Share(assigned.rows[places], variant, run[places], epoch[places], consent)


def _stamps(column: pl.Series) -> Rows:
    """Runs and epochs count from 0; what a service cannot have meant is no stamp. With nulls, numpy gets floats."""
    stamps: Rows = np.maximum(np.nan_to_num(column.to_numpy(), nan=NO_STAMP), NO_STAMP).astype(np.int64)
    return stamps


def _project(
    checked: _Checked, shares: Mapping[str, Share], watched: Mapping[str, Watched], source: Source, project: Project
) -> dict[str, ProjectedRows]:
    projected = {
        name: project(checked.batch, watched[name], share, source, checked.offsets) for name, share in shares.items()
    }
    return {name: rows for name, rows in projected.items() if rows.rows}


def _rejects(checked: _Checked) -> list[Reject]:
    assignments = _assignments_of(checked, checked.faults)
    refused = [(fault.position, fault.code, fault.reason, fault.assignments) for fault in checked.decoded.refused]
    refused += [
        (int(checked.decoded.positions[row]), fault.code, fault.reason, tuple(assignments.get(row, ())))
        for row, fault in checked.faults.items()
    ]
    return [
        Reject(record.offset, code, reason, record.value or b"", record.timestamp_ms, pairs)
        for position, code, reason, pairs in sorted(refused)
        for record in (checked.records[position],)
    ]


def _assignments_of(checked: _Checked, rows: Iterable[int]) -> dict[int, list[tuple[str, str]]]:
    """(experiment, variant) pairs of some rows of the batch."""
    wanted = np.zeros(checked.batch.rows, np.bool_)
    wanted[list(rows)] = True
    assigned = checked.batch.items("assignments")
    places = np.flatnonzero(wanted[assigned.rows])
    found: dict[int, list[tuple[str, str]]] = {}
    if places.size:
        experiments, variants = (assigned.fields[name][places] for name in ("experiment", "variant"))
        for row, experiment, variant in zip(assigned.rows[places].tolist(), experiments, variants, strict=True):
            found.setdefault(row, []).append((experiment, variant))
    return found


def _counts(
    checked: _Checked,
    watched: Mapping[str, Watched],
    unassigned: int = 0,
    undeclared: Mapping[str, int] | None = None,
) -> Counts:
    return Counts(
        valid=int(np.count_nonzero(checked.judged)),
        rejected=len(checked.decoded.refused) + len(checked.faults),
        quarantined=len(checked.untimely),
        unassigned=unassigned,
        unknown_experiment=_unknown_experiments(checked, watched),
        undeclared_outcome=undeclared or {},
        rejected_by_variant=_rejected_by_variant(checked, watched),
        waiting=checked.waiting.size,
    )


def _unknown_experiments(checked: _Checked, watched: Mapping[str, Watched]) -> dict[str, int]:
    assigned = checked.batch.items("assignments")
    if not len(assigned):
        return {}
    names, codes = segments.dictionary(assigned.fields["experiment"])
    counts = np.bincount(codes[checked.judged[assigned.rows]], minlength=len(names)).tolist()
    unknown = [(name, count) for name, count in zip(names, counts, strict=True) if count and name not in watched]
    return bounded((name if NAME.fullmatch(name) else segments.INVALID, count) for name, count in unknown)


def bounded(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Counts by name, at most MOST_NAMES_COUNTED names of their own: names come from traffic."""
    total: Counter[str] = Counter()
    for name, count in counts:
        total[name if name in total or len(total) < MOST_NAMES_COUNTED else OTHER] += count
    return dict(total)


def _rejected_by_variant(checked: _Checked, watched: Mapping[str, Watched]) -> tuple[RejectCount, ...]:
    """Each record counts once for a variant, however often it names it."""
    pairs = [pair for fault in checked.decoded.refused for pair in set(fault.assignments)]
    if checked.faults or checked.untimely:
        read = _assignments_of(checked, [*checked.faults, *checked.untimely])
        pairs += [pair for found in read.values() for pair in set(found)]
    known = [(name, _variant(watched[name], variant)) for name, variant in pairs if name in watched]
    return tuple(RejectCount(name, variant, count) for (name, variant), count in sorted(Counter(known).items()))


def _variant(watched: Watched, variant: str) -> str:
    return variant if variant in {arm.name for arm in watched.arms} else UNDECLARED_VARIANT


def _undeclared_outcomes(
    checked: _Checked, shares: Mapping[str, Share], watched: Mapping[str, Watched]
) -> dict[str, int]:
    counts: list[tuple[str, int]] = []
    for experiment, share in shares.items():
        names, codes = segments.dictionary(checked.batch.frame["name"][share.rows])
        declared = watched[experiment].experiment.declared_scores
        counts += [
            (f"{experiment}/{segments.clean(name)}", int(np.count_nonzero(codes == code)))
            for code, name in enumerate(names)
            if name not in declared
        ]
    return bounded(counts)
