"""A decoded batch as projection needs it: each column is computed once, on demand, for all experiments.

The arrays of a trace (scores, steps, attributes) are taken apart only where a row of the batch has them, so a flat
trace does not pay for them. All arrays here have one entry per row of the frame, bad rows included; who projects takes
rows. What polars computes is asked for in one `select`, for a query has a fixed cost, and a small batch no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from stoploss.emit.context import SHADOW_OF
from stoploss.experiment import BESIDE, CROSS, PATH, SEGMENT_COLUMNS
from stoploss.intake import hashing, segments
from stoploss.intake.paths import paths
from stoploss.intake.pii import Scan, scan
from stoploss.intake.quantise import Floats, Mask
from stoploss.intake.rows import NONE, Coded, Codes
from stoploss.intake.steps import Steps
from stoploss.metrics import METRICS

Rows = npt.NDArray[np.int64]
Column = tuple[Floats, Mask]

STEP_METRICS = ("steps", "repeated_calls", "retries", "samples", "denied_tool_rate", "guardrail_hit_rate")
NUMBERS = tuple(name for name in METRICS if name.endswith(("_ms", "_tokens")) or name == "cost_usd")
LISTS = ("assignments", "scores", "steps", "attributes")

# gen_ai.response.finish_reasons of the large providers that mean: the model, or its filter, would not answer.
REFUSALS = ("refusal", "content_filter", "safety")


@dataclass(frozen=True, slots=True)
class Items:
    """The items of an array column, one after the other: rows[i] is the frame row that item i belongs to."""

    rows: Rows
    fields: pl.DataFrame

    def __len__(self) -> int:
        return self.rows.size


def filled(name: str) -> pl.Expr:
    """Whether a string column holds any text."""
    return (pl.col(name) != "").fill_null(False)


def holds(column: pl.Series) -> Mask:
    """Rows of a boolean column that are true; null is not."""
    whole = column.fill_null(False) if column.null_count() else column
    return whole.to_numpy()


@lru_cache(maxsize=8)
def _computed(has: frozenset[str]) -> list[pl.Expr]:
    """Every computed column that a record with these columns has."""
    columns = [pl.col("trace_id").str.len_bytes().alias("trace_id_bytes")]
    columns += [pl.col(name).list.len().alias(name) for name in LISTS if name in has]
    columns += [pl.col(name).fill_null(0).cast(pl.Float64) for name in NUMBERS if name in has]
    columns += [pl.col(name).is_not_null().alias(f"{name}?") for name in NUMBERS if name in has]
    columns += [filled(name).alias(name) for name in ("error_type", "finish_reason") if name in has]
    if "finish_reason" in has:
        columns.append(pl.col("finish_reason").str.to_lowercase().is_in(REFUSALS).fill_null(False).alias("refused"))
    return [*columns, *_unit_ids(has)]


def _unit_ids(has: frozenset[str]) -> list[pl.Expr]:
    """Randomisation unit by kind. A session is its conversation where the record names one; whoever has no unit is one
    of their own."""
    user = pl.when(filled("unit_id")).then("unit_id").otherwise("trace_id")
    session = pl.when(filled("conversation_id")).then("conversation_id").otherwise(user)
    return [user.alias("user"), (session if "conversation_id" in has else user).alias("session")]


class Batch:
    """Traces or outcomes, decoded: one row each, in the order of their offsets."""

    def __init__(self, frame: pl.DataFrame, salt: bytes) -> None:
        self.frame = frame
        self.salt = salt
        self._derived = frame.select_seq(_computed(frozenset(frame.columns)))
        self._items: dict[str, Items] = {}
        self._segments: dict[str, Coded] = {}
        self._units: dict[str, hashing.Hashes] = {}
        self._columns: dict[str, Column] = {}
        self._flagged: dict[str, Rows] = {}

    @property
    def rows(self) -> int:
        return self.frame.height

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column of the frame that has no nulls."""
        return self.frame[name].to_numpy()

    @cached_property
    def trace_id_bytes(self) -> npt.NDArray[np.uint32]:
        return self._derived["trace_id_bytes"].to_numpy()

    @cached_property
    def at(self) -> Rows:
        return self.column("at")

    @cached_property
    def start(self) -> Rows:
        """When the request began: at minus latency; at, where there is none, or none that makes sense."""
        latency, present = self.number("latency_ms")
        sane = present & (latency >= 0) & (latency < 2**40)
        start: Rows = self.at - np.rint(np.where(sane, latency, 0.0) * 1_000).astype(np.int64)
        return start

    @cached_property
    def shadow(self) -> Mask:
        """Shadow runs; of outcomes those about one, which have its attributes."""
        if "role" in self.frame.columns:
            return (self.frame["role"] == "shadow").to_numpy()
        found, attributes = np.zeros(self.rows, np.bool_), self.items("attributes")
        if len(attributes):
            found[attributes.rows[(attributes.fields["key"] == SHADOW_OF).to_numpy()]] = True
        return found

    @cached_property
    def output(self) -> Scan:
        return scan(self.frame["output_text"])

    @cached_property
    def trace(self) -> hashing.Hashes:
        return hashing.hash_ids(self.frame["trace_id"], "trace", self.salt)

    def unit(self, kind: str) -> hashing.Hashes:
        """Hash of the randomisation unit (user, session or trace), not yet salted by experiment."""
        if kind not in self._units:
            ids = self.frame["trace_id"] if kind == "trace" else self._derived[kind]
            self._units[kind] = hashing.hash_ids(ids, "unit", self.salt)
        return self._units[kind]

    def items(self, name: str) -> Items:
        """Items of an array column, in order."""
        if name not in self._items:
            self._items[name] = self._exploded(name)
        return self._items[name]

    def _exploded(self, name: str) -> Items:
        lengths = self._derived[name].to_numpy()
        held = np.flatnonzero(lengths)
        if held.size == 0:
            return Items(held, pl.DataFrame())
        column = self.frame[name] if held.size == self.rows else self.frame[name][held]
        return Items(np.repeat(held, lengths[held]), column.explode().struct.unnest())

    @cached_property
    def experiments(self) -> tuple[list[str], Codes]:
        """Names of the experiments that are assigned, and each assignment's place among them."""
        return segments.dictionary(self.items("assignments").fields["experiment"])

    @cached_property
    def variants(self) -> tuple[list[str], Codes]:
        """Names of the variants that are assigned, and each assignment's place among them."""
        return segments.dictionary(self.items("assignments").fields["variant"])

    @cached_property
    def consents(self) -> Codes:
        """Of each assignment: 1 the user agreed, 0 opted out, -1 was not asked."""
        asked = self.items("assignments").fields["consent"].cast(pl.Float64).to_numpy()  # null becomes NaN, no query
        consents: Codes = np.nan_to_num(asked, nan=NONE).astype(np.int32)
        return consents

    def flagged(self, name: str) -> Rows:
        """Rows of which the service says so in a boolean column."""
        if name not in self._flagged:
            self._flagged[name] = np.flatnonzero(holds(self.frame[name]))
        return self._flagged[name]

    @cached_property
    def personal(self) -> Rows:
        """Rows in whose output any personal data was found."""
        return np.flatnonzero(self.output.found)

    def number(self, name: str) -> Column:
        """Values of a numeric column and which rows have one."""
        return self._derived[name].to_numpy(), self._derived[f"{name}?"].to_numpy()

    @cached_property
    def steps(self) -> Steps:
        items = self.items("steps")
        return Steps(items.rows, items.fields, self.rows)

    def metric(self, name: str) -> Column:
        """Values of a built-in metric that depends on the trace alone, and which rows have one."""
        if name not in self._columns:
            self._columns[name] = self._metric(name)
        return self._columns[name]

    def _metric(self, name: str) -> Column:
        if name in STEP_METRICS:
            return self.steps.metric(name)
        match name:
            case "error_rate":
                return _number(self._derived["error_type"].to_numpy()), np.ones(self.rows, np.bool_)
            case "refusal_rate":
                return _number(self._derived["refused"].to_numpy()), self._derived["finish_reason"].to_numpy()
            case _:
                return self.number(name)

    def score(self, name: str) -> Column:
        """A score that the trace carries; where it carries several of one name, the first counts."""
        values, present = np.zeros(self.rows), np.zeros(self.rows, np.bool_)
        scores = self.items("scores")
        if len(scores):
            chosen = np.flatnonzero((scores.fields["name"] == name).to_numpy())[::-1]
            values[scores.rows[chosen]] = scores.fields["value"].to_numpy()[chosen]
            present[scores.rows[chosen]] = True
        return values, present

    def segment(self, dimension: str) -> Coded:
        """A dimension's values: a column, the path, variants of another experiment, an attribute, a cross of such."""
        if dimension not in self._segments:
            self._segments[dimension] = self._coded(dimension)
        return self._segments[dimension]

    def _coded(self, dimension: str) -> Coded:
        first, cross, rest = dimension.partition(CROSS)
        if cross:
            return segments.crossed(self.segment(first.strip()), self.segment(rest.strip()))
        if dimension in SEGMENT_COLUMNS and dimension in self.frame.columns:
            return segments.coded(self.frame[dimension])
        if dimension == PATH and "steps" in self.frame.columns:
            return paths(self.steps)
        if dimension.startswith(BESIDE):
            return self._first_of("assignments", "experiment", dimension.removeprefix(BESIDE), "variant")
        return self._first_of("attributes", "key", dimension, "value")

    def _first_of(self, name: str, by: str, key: str, value: str) -> Coded:
        """What the items of a key have; where a record carries a key several times, the first counts."""
        codes = np.full(self.rows, NONE, np.int32)
        items = self.items(name)
        if not len(items):
            return Coded((), codes)
        chosen = np.flatnonzero((items.fields[by] == key).to_numpy())[::-1]
        column = segments.coded(items.fields[value][chosen])
        codes[items.rows[chosen]] = column.codes
        return Coded(column.values, codes)


def _number(column: npt.NDArray[Any]) -> Floats:
    return column.astype(np.float64)
