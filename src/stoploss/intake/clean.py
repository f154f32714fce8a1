"""The frame for storage: validated and masked, with where each record stood and why it was not judged, if so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from stoploss.intake.batch import Rows
from stoploss.intake.pii import Bits, Scan, class_names, scan
from stoploss.intake.quantise import Mask
from stoploss.ledger import Source


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the rows of a frame stood, and which of them are quarantined, with the reason."""

    source: Source
    offsets: Rows
    broker_micros: Rows
    quarantined: Mapping[int, str]


def traces(frame: pl.DataFrame, output: Scan, standing: Standing, stored: Mask) -> pl.DataFrame:
    """The trace's columns with masked texts, `pii_classes` found in the output, and the columns of `standing`."""
    scans = {"input_text": scan(frame["input_text"]), "output_text": output}
    if masked := [scanned.masked.alias(name) for name, scanned in scans.items() if scanned.found.any()]:
        frame = frame.with_columns(masked)
    return _stored(frame, [_classes(output.found), *_columns(standing)], stored)


def outcomes(frame: pl.DataFrame, standing: Standing, stored: Mask) -> pl.DataFrame:
    return _stored(frame, _columns(standing), stored)


def _stored(frame: pl.DataFrame, more: list[pl.Series], stored: Mask) -> pl.DataFrame:
    whole = frame.hstack(more)
    return whole if stored.all() else whole.filter(pl.Series(stored))


def _columns(standing: Standing) -> list[pl.Series]:
    """topic, topic_uuid, partition, offset, broker_at (microseconds), quarantined (why it was not judged, or null)."""
    size = standing.offsets.size
    source = standing.source
    return [
        _constant("topic", source.topic, pl.String(), size),
        _constant("topic_uuid", source.topic_uuid, pl.String(), size),
        _constant("partition", source.partition, pl.Int32(), size),
        pl.Series("offset", standing.offsets),
        pl.Series("broker_at", standing.broker_micros),
        _reasons(standing.quarantined, size),
    ]


def _constant(name: str, value: object, dtype: pl.DataType, size: int) -> pl.Series:
    return pl.Series(name, [value], dtype).new_from_index(0, size)


def _reasons(quarantined: Mapping[int, str], size: int) -> pl.Series:
    if not quarantined:
        return _constant("quarantined", None, pl.String(), size)
    return pl.Series("quarantined", [quarantined.get(row) for row in range(size)], pl.String)


def _classes(found: Bits) -> pl.Series:
    distinct, place = np.unique(found, return_inverse=True)
    return pl.Series("pii_classes", [class_names(int(bits)) for bits in distinct], pl.List(pl.String))[place]
