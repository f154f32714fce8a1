"""What became of the records of each source partition, in numbers: taken, refused, waiting, of no experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from stoploss.experiment import OTHER
from stoploss.intake import segments
from stoploss.intake.checked import Checked, Part, assignments_of
from stoploss.intake.project import Share
from stoploss.intake.quantise import Mask
from stoploss.intake.results import Counts
from stoploss.intake.watched import Watched
from stoploss.ledger import RejectCount
from stoploss.spec.base import NAME

MOST_NAMES_COUNTED = 64
UNDECLARED_VARIANT = "undeclared"


def counts_of(
    checked: Checked,
    parts: Sequence[Part],
    watched: Mapping[str, Watched],
    unassigned: Mask | None = None,
    shares: Mapping[str, Share] | None = None,
) -> list[Counts]:
    """Of each partition.

    unassigned  rows of traces that take part in no experiment
    shares      of outcomes, which may be of a name that the experiment does not declare
    """
    unknown = _unknown_experiments(checked, parts, watched)
    return [
        Counts(
            valid=int(np.count_nonzero(checked.judged[part.span])),
            rejected=sum(fault.position in part.positions for fault in checked.decoded.refused)
            + sum(row in part.rows for row in checked.faults),
            quarantined=sum(row in part.rows for row in checked.untimely),
            unassigned=0 if unassigned is None else int(np.count_nonzero(unassigned[part.span])),
            unknown_experiment=unknown[number],
            undeclared_outcome=_undeclared_outcomes(checked, part, shares, watched) if shares else {},
            rejected_by_variant=_rejected_by_variant(checked, part, watched),
            waiting=int(np.count_nonzero((checked.waiting >= part.rows.start) & (checked.waiting < part.rows.stop))),
        )
        for number, part in enumerate(parts)
    ]


def _unknown_experiments(
    checked: Checked, parts: Sequence[Part], watched: Mapping[str, Watched]
) -> list[dict[str, int]]:
    assigned = checked.batch.items("assignments")
    if not len(assigned):
        return [{} for _ in parts]
    names, codes = checked.batch.experiments
    strangers = np.array([name not in watched for name in names])[codes] & checked.judged[assigned.rows]
    found = []
    for part in parts:
        start, stop = np.searchsorted(assigned.rows, (part.rows.start, part.rows.stop))
        counts = np.bincount(codes[start:stop][strangers[start:stop]], minlength=len(names)).tolist()
        unknown = [(name, count) for name, count in zip(names, counts, strict=True) if count]
        found.append(bounded((name if NAME.fullmatch(name) else segments.INVALID, count) for name, count in unknown))
    return found


def bounded(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Counts by name, at most MOST_NAMES_COUNTED names of their own: names come from traffic."""
    total: Counter[str] = Counter()
    for name, count in counts:
        total[name if name in total or len(total) < MOST_NAMES_COUNTED else OTHER] += count
    return dict(total)


def _rejected_by_variant(checked: Checked, part: Part, watched: Mapping[str, Watched]) -> tuple[RejectCount, ...]:
    """Each record counts once for a variant, however often it names it."""
    refused = [fault for fault in checked.decoded.refused if fault.position in part.positions]
    pairs = [pair for fault in refused for pair in set(fault.assignments)]
    if wrong := [row for row in (*checked.faults, *checked.untimely) if row in part.rows]:
        pairs += [pair for found in assignments_of(checked, wrong).values() for pair in set(found)]
    known = [(name, _variant(watched[name], variant)) for name, variant in pairs if name in watched]
    return tuple(RejectCount(name, variant, count) for (name, variant), count in sorted(Counter(known).items()))


def _variant(watched: Watched, variant: str) -> str:
    return variant if variant in {arm.name for arm in watched.arms} else UNDECLARED_VARIANT


def _undeclared_outcomes(
    checked: Checked, part: Part, shares: Mapping[str, Share], watched: Mapping[str, Watched]
) -> dict[str, int]:
    counts: list[tuple[str, int]] = []
    for experiment, share in shares.items():
        start, stop = np.searchsorted(share.rows, (part.rows.start, part.rows.stop))
        names, codes = segments.dictionary(checked.batch.frame["name"][share.rows[start:stop]])
        declared = watched[experiment].experiment.declared_scores
        counts += [
            (f"{experiment}/{segments.clean(name)}", int(np.count_nonzero(codes == code)))
            for code, name in enumerate(names)
            if name not in declared
        ]
    return bounded(counts)
