"""The frame for storage: validated and masked, with where each record stood and why it was not judged, if so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from stoploss.intake.batch import Rows
from stoploss.intake.pii import Bits, Scan, class_names, scan
from stoploss.intake.project import Origin
from stoploss.intake.quantise import Mask


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the rows of a frame stood, and which of them are quarantined, with the reason."""

    origin: Origin
    broker_micros: Rows
    quarantined: Mapping[int, str]


def traces(frame: pl.DataFrame, output: Scan, standing: Standing) -> pl.DataFrame:
    """The trace's columns with masked texts, `pii_classes` found in the output, and the columns of `standing`."""
    scans = {"input_text": scan(frame["input_text"]), "output_text": output}
    if masked := [scanned.masked.alias(name) for name, scanned in scans.items() if scanned.found.any()]:
        frame = frame.with_columns(masked)
    return frame.hstack([_classes(output.found), *_columns(standing)])


def outcomes(frame: pl.DataFrame, standing: Standing) -> pl.DataFrame:
    return frame.hstack(_columns(standing))


def part(whole: pl.DataFrame, rows: slice, stored: Mask) -> pl.DataFrame:
    """Those of some rows that are stored; one flag for each of them."""
    some = whole[rows]
    return some if stored.all() else some.filter(pl.Series(stored))


def _columns(standing: Standing) -> list[pl.Series]:
    """topic, topic_uuid, partition, offset, broker_at (microseconds), quarantined (why it was not judged, or null)."""
    origin, size = standing.origin, standing.origin.offset.size
    return [
        _of_sources("topic", [source.topic for source in origin.sources], pl.String(), origin),
        _of_sources("topic_uuid", [source.topic_uuid for source in origin.sources], pl.String(), origin),
        _of_sources("partition", [source.partition for source in origin.sources], pl.Int32(), origin),
        pl.Series("offset", origin.offset),
        pl.Series("broker_at", standing.broker_micros),
        _reasons(standing.quarantined, size),
    ]


def _of_sources(name: str, values: Sequence[object], dtype: pl.DataType, origin: Origin) -> pl.Series:
    if len(values) == 1:
        return _constant(name, values[0], dtype, origin.offset.size)
    return pl.Series(name, values, dtype).gather(origin.source)


def _constant(name: str, value: object, dtype: pl.DataType, size: int) -> pl.Series:
    return pl.Series(name, [value], dtype).new_from_index(0, size)


def _reasons(quarantined: Mapping[int, str], size: int) -> pl.Series:
    if not quarantined:
        return _constant("quarantined", None, pl.String(), size)
    return pl.Series("quarantined", [quarantined.get(row) for row in range(size)], pl.String)


def _classes(found: Bits) -> pl.Series:
    distinct, place = np.unique(found, return_inverse=True)
    return pl.Series("pii_classes", [class_names(int(bits)) for bits in distinct], pl.List(pl.String))[place]
