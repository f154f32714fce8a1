"""Which rows of a batch cannot be believed: faulty ones are dead letters, untimely ones are stored but not judged.

One NaN or 1e308 would blind a drift detector for good, and one time stamp in the future would move budgets and plots,
so nothing that enters a block is unchecked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from stoploss.intake.batch import NUMBERS, Batch, Items, Rows
from stoploss.metrics import LARGEST, METRICS, SCORE_SCALE
from stoploss.wire.refusals import Code

LONGEST_TRACE_ID_BYTES = 64
LONGEST_SHOWN = 64
AHEAD_MICROS = 60 * 1_000_000
TRACE_AGE_MICROS = 24 * 3_600 * 1_000_000
OUTCOME_AGE_MICROS = 90 * 24 * 3_600 * 1_000_000
_YEAR_2000_MICROS = 946_684_800_000_000
_YEAR_2000_MILLIS = 946_684_800_000

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fault:
    code: Code
    reason: str


Faults = dict[int, Fault]
"""By row of the frame; a row has its first fault."""


def trace_faults(batch: Batch) -> Faults:
    found: Faults = {}
    _note(found, trace_id_faults(batch))
    for name in NUMBERS:
        _note(found, _number_faults(batch, name))
    _note(found, _score_faults(batch.items("scores")))
    _note(found, assignment_faults(batch))
    return found


def outcome_faults(batch: Batch) -> Faults:
    found: Faults = {}
    _note(found, trace_id_faults(batch))
    _note(found, _value_faults(batch.column("value"), np.arange(batch.rows), batch.frame["name"]))
    _note(found, assignment_faults(batch))
    return found


def shown(name: str) -> str:
    """A name from traffic as a reason quotes it: it may be as long as a record.

    >>> shown("checkout"), shown("x" * 1_000_000)[:10]
    ("'checkout'", "'xxxxxxxxx")
    """
    return repr(name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…")


def _note(found: Faults, faults: Iterator[tuple[int, Fault]]) -> None:
    for row, fault in faults:
        found.setdefault(row, fault)


def trace_id_faults(batch: Batch) -> Iterator[tuple[int, Fault]]:
    sizes = batch.trace_id_bytes
    for row in np.flatnonzero((sizes < 1) | (sizes > LONGEST_TRACE_ID_BYTES)).tolist():
        yield row, Fault("trace_id", f"trace_id has {sizes[row]} bytes; it must have 1 to {LONGEST_TRACE_ID_BYTES}")


def _number_faults(batch: Batch, name: str) -> Iterator[tuple[int, Fault]]:
    values, present = batch.number(name)
    largest = LARGEST / METRICS[name].scale
    for row in np.flatnonzero(present & ~((values >= 0) & (values <= largest))).tolist():
        yield (
            row,
            Fault("number", f"{name} is {values[row]:g}; it must be 0 to {largest:g}, or null where it is not known"),
        )


def _score_faults(scores: Items) -> Iterator[tuple[int, Fault]]:
    if len(scores):
        yield from _value_faults(scores.fields["value"].to_numpy(), scores.rows, scores.fields["name"])


def _value_faults(values: npt.NDArray[np.float64], rows: Rows, names: pl.Series) -> Iterator[tuple[int, Fault]]:
    largest = LARGEST / SCORE_SCALE
    for item in np.flatnonzero(~(np.abs(values) <= largest)).tolist():
        yield (
            int(rows[item]),
            Fault(
                "number", f"score {shown(names[item])} is {values[item]:g}; it must be finite and within ±{largest:g}"
            ),
        )


def assignment_faults(batch: Batch) -> Iterator[tuple[int, Fault]]:
    """One record stands in one variant of an experiment."""
    assigned = batch.items("assignments")
    if (np.diff(assigned.rows) > 0).all() or not _any_twice(batch):
        return
    named = pl.DataFrame({"row": assigned.rows, "experiment": assigned.fields["experiment"]})
    for row, experiment in named.filter(named.is_duplicated()).unique(maintain_order=True).iter_rows():
        yield row, Fault("assigned_twice", f"experiment {shown(experiment)} is assigned twice; name its variant once")


def _any_twice(batch: Batch) -> bool:
    names, codes = batch.experiments
    pairs = np.sort(batch.items("assignments").rows * len(names) + codes)
    return bool((pairs[1:] == pairs[:-1]).any())


def time_faults(at: Rows, broker_micros: Rows, oldest_micros: int) -> dict[int, str]:
    """Rows whose event time cannot be, by the broker's time of the record, with the reason."""
    untimely = (at > broker_micros + AHEAD_MICROS) | (at < broker_micros - oldest_micros)
    return {row: _untimely(int(at[row]), int(broker_micros[row])) for row in np.flatnonzero(untimely).tolist()}


_TIME_RULES: tuple[tuple[str, Callable[[int], bool]], ...] = (
    ("is no time; it must be microseconds since 1970", lambda at: at <= 0),
    ("looks like seconds; it must be microseconds since 1970", lambda at: at < _YEAR_2000_MILLIS),
    ("looks like milliseconds; it must be microseconds since 1970", lambda at: at < _YEAR_2000_MICROS),
)


def _untimely(at: int, broker_micros: int) -> str:
    for text, applies in _TIME_RULES:
        if applies(at):
            return f"at = {at} {text}"
    seconds = (at - broker_micros) / 1_000_000
    side = "ahead of" if seconds > 0 else "behind"
    return f"at = {at} is {abs(seconds):.0f} s {side} the broker's time of the record; check the service's clock"


def broker_times(timestamps_ms: Rows, now_micros: int) -> Rows:
    """The broker's time of each record in microseconds; now for a record without one, or with one that is yet to come.

    A topic may keep the times of its producers: a clock that is ahead would vouch for itself.
    """
    latest_ms = (now_micros + AHEAD_MICROS) // 1_000
    known = (timestamps_ms > 0) & (timestamps_ms <= latest_ms)
    return np.where(known, np.where(known, timestamps_ms, 0) * 1_000, now_micros)


def reused_ids(rows: Rows, contradicting: list[int]) -> Faults:
    """contradicting: places among `rows` whose trace id came before with another value."""
    reason = "the trace_id came before with other content, which stands; give every request an id of its own"
    return {int(rows[place]): Fault("trace_id_reused", reason) for place in contradicting}
