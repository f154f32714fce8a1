"""Intake's core: fetched batches of source partitions to evidence rows, masked frames, dead letters and counts.

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

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import polars as pl

from stoploss.intake import bare, clean, validate
from stoploss.intake.batch import Batch, Rows
from stoploss.intake.canaries import without_canaries
from stoploss.intake.checked import NOWHERE, Checked, Part, assignments_of, parts_of
from stoploss.intake.dead_letters import Reject
from stoploss.intake.project import Origin, Share, project_outcomes, project_traces
from stoploss.intake.quantise import Mask
from stoploss.intake.repeats import Remembered
from stoploss.intake.results import Counts, Fetched, IntakeResult
from stoploss.intake.rows import ProjectedRows, by_source
from stoploss.intake.tallies import counts_of
from stoploss.intake.watched import Watched
from stoploss.wire.traces import Resolver, decode_values

NO_STAMP = -1

Project = Callable[[Batch, Watched, Share, Origin], ProjectedRows]


def read_traces(
    fetched: Sequence[Fetched],
    watched: Mapping[str, Watched],
    *,
    salt: bytes,
    now_micros: int,
    resolve: Resolver | None = None,
    seen: Remembered | None = None,
) -> list[IntakeResult]:
    """Traces of some source partitions, one result for each; read together, since most of a small batch's cost is the
    same for one partition as for all.

    watched     by experiment name; names that it lacks are counted, never judged
    salt        key of the hashes of units and traces, the same in every worker of the installation
    now_micros  stands in for the broker's time where a record has none, or one that lies ahead of it
    resolve     Confluent schema ids, where a registry is configured
    seen        what came before under each trace id; None: nobody asks
    """
    checked = _check(fetched, "trace", salt, now_micros, resolve)
    if seen is not None:
        checked = _without_reused_ids(checked, seen)
    shares = dict(_shares(checked, watched))
    rows = _project(checked, shares, watched, project_traces)
    assigned = np.zeros(checked.batch.rows, np.bool_)
    assigned[checked.batch.items("assignments").rows] = True
    whole = clean.traces(checked.batch.frame, checked.batch.output, _standing(checked))
    parts = parts_of(fetched, checked)
    counts = counts_of(checked, parts, watched, unassigned=checked.judged & ~assigned)
    return _results(checked, parts, rows, whole, _stored(checked) & assigned, counts)


def read_outcomes(
    fetched: Sequence[Fetched],
    watched: Mapping[str, Watched],
    *,
    salt: bytes,
    now_micros: int,
    resolve: Resolver | None = None,
    looked_up: bool = False,
) -> list[IntakeResult]:
    """Outcomes that carry their trace's context; as read_traces. Outcomes trip no gates.

    looked_up  they come from the resolver: what is still bare has no trace. Otherwise bare ones are left to it
    """
    checked = _check(fetched, "outcome", salt, now_micros, resolve)
    checked = _without_unresolved(checked) if looked_up else _without_bare(checked)
    shares = dict(_shares(checked, watched))
    rows = _project(checked, shares, watched, project_outcomes)
    whole = clean.outcomes(checked.batch.frame, _standing(checked))
    parts = parts_of(fetched, checked)
    counts = counts_of(checked, parts, watched, shares=shares)
    return _results(checked, parts, rows, whole, _stored(checked), counts)


def _check(fetched: Sequence[Fetched], name: str, salt: bytes, now_micros: int, resolve: Resolver | None) -> Checked:
    values = [value for part in fetched for value in part.values]
    offsets, stamps_ms = (_together(fetched, column) for column in ("offsets", "stamps_ms"))
    decoded = decode_values(values, name, resolve)
    batch = Batch(decoded.frame, salt)
    broker_micros = validate.broker_times(stamps_ms[decoded.positions], now_micros)
    outcomes = name == "outcome"
    faults = validate.outcome_faults(batch) if outcomes else validate.trace_faults(batch)
    oldest = validate.OUTCOME_AGE_MICROS if outcomes else validate.TRACE_AGE_MICROS
    untimely = validate.time_faults(batch.at, broker_micros, oldest)
    late = {row: reason for row, reason in untimely.items() if row not in faults}
    source = np.repeat(np.arange(len(fetched), dtype=np.int32), list(map(len, fetched)))
    sources = tuple(part.source for part in fetched)
    origin = Origin(sources, source[decoded.positions], offsets[decoded.positions])
    return Checked(values, offsets, stamps_ms, decoded, batch, origin, broker_micros, faults, late)


def _together(fetched: Sequence[Fetched], column: Literal["offsets", "stamps_ms"]) -> Rows:
    return np.concatenate([np.asarray(getattr(part, column), np.int64) for part in fetched])


def _results(
    checked: Checked,
    parts: Sequence[Part],
    rows: Mapping[str, ProjectedRows],
    whole: pl.DataFrame,
    stored: Mask,
    counts: Sequence[Counts],
) -> list[IntakeResult]:
    """Each partition's share of what was read together."""
    alone = {name: by_source(some) for name, some in rows.items()}
    rejects = _rejects(checked)
    found = []
    for number, part in enumerate(parts):
        mine = {name: shares[number] for name, shares in alone.items() if shares[number].rows}
        kept = without_canaries(stored[part.span], checked.origin.offset[part.span], mine)
        found.append(
            IntakeResult(
                rows=mine,
                clean=clean.part(whole, part.span, kept),
                rejects=[reject for position, reject in rejects if position in part.positions],
                counts=counts[number],
                tripped_gate=any(some.gate_details for some in mine.values()),
            )
        )
    return found


def _without_reused_ids(checked: Checked, seen: Remembered) -> Checked:
    rows = np.flatnonzero(checked.judged)
    values = [checked.values[place] or b"" for place in checked.decoded.positions[rows].tolist()]
    reused = validate.reused_ids(rows, seen.contradicting(checked.batch.trace[rows], values))
    return replace(checked, faults={**checked.faults, **reused}) if reused else checked


def _without_bare(checked: Checked) -> Checked:
    """Whether they are timely is asked when they come again, under the broker's stamp of now."""
    sizes = bare.sizes_of(checked.decoded, checked.values)
    waiting, too_large = bare.bare_rows(checked.batch, checked.faults, sizes)
    if not waiting.size and not too_large:
        return checked
    left_out = {*waiting.tolist(), *too_large}
    untimely = {row: reason for row, reason in checked.untimely.items() if row not in left_out}
    return replace(checked, faults={**checked.faults, **too_large}, untimely=untimely, waiting=waiting)


def _without_unresolved(checked: Checked) -> Checked:
    unresolved = bare.unresolved(checked.batch, checked.faults)
    untimely = {row: reason for row, reason in checked.untimely.items() if row not in unresolved}
    return replace(checked, faults={**checked.faults, **unresolved}, untimely=untimely) if unresolved else checked


def _stored(checked: Checked) -> Mask:
    stored = np.ones(checked.batch.rows, np.bool_)
    stored[list(checked.faults)] = False
    stored[checked.waiting] = False
    return stored


def _standing(checked: Checked) -> clean.Standing:
    return clean.Standing(checked.origin, checked.broker_micros, checked.untimely)


def _shares(checked: Checked, watched: Mapping[str, Watched]) -> Iterator[tuple[str, Share]]:
    """The judged rows of each watched experiment."""
    assigned = checked.batch.items("assignments")
    if not len(assigned):
        return
    names, codes = checked.batch.experiments
    (_, variant), consent = checked.batch.variants, checked.batch.consents
    judged = checked.judged[assigned.rows]
    run, epoch = _stamps(assigned.fields["run"]), _stamps(assigned.fields["epoch"])
    for code, name in enumerate(names):
        places = np.flatnonzero((codes == code) & judged) if name in watched else NOWHERE
        if places.size:
            yield name, Share(assigned.rows[places], variant[places], run[places], epoch[places], consent[places])


def _stamps(column: pl.Series) -> Rows:
    """Runs and epochs count from 0; what a service cannot have meant is no stamp. With nulls, numpy gets floats."""
    stamps: Rows = np.maximum(np.nan_to_num(column.to_numpy(), nan=NO_STAMP), NO_STAMP).astype(np.int64)
    return stamps


def _project(
    checked: Checked, shares: Mapping[str, Share], watched: Mapping[str, Watched], project: Project
) -> dict[str, ProjectedRows]:
    projected = {name: project(checked.batch, watched[name], share, checked.origin) for name, share in shares.items()}
    return {name: rows for name, rows in projected.items() if rows.rows}


def _rejects(checked: Checked) -> list[tuple[int, Reject]]:
    """By position of the record."""
    assignments = assignments_of(checked, checked.faults)
    refused = [(fault.position, fault.code, fault.reason, fault.assignments) for fault in checked.decoded.refused]
    refused += [
        (int(checked.decoded.positions[row]), fault.code, fault.reason, tuple(assignments.get(row, ())))
        for row, fault in checked.faults.items()
    ]
    return [
        (position, Reject(offset, code, reason, checked.values[position] or b"", stamp_ms, pairs))
        for position, code, reason, pairs in sorted(refused)
        for offset, stamp_ms in ((int(checked.offsets[position]), int(checked.stamps_ms[position])),)
    ]
