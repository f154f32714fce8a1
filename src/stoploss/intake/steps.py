"""What the steps of a trace say of the agent that took them: calls made again, retries, samples, denials, hits.

Arguments of a call are not in a trace. Two calls are the same call where their kind, name, MCP server and scope are.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from stoploss.intake import segments
from stoploss.intake.quantise import Floats, Mask

Places = npt.NDArray[np.int64]

PASSED = ("", "ok", "pass", "passed", "allow", "allowed", "none", "error", "bypassed")
"""Answers of a guardrail that are no hit. One that failed said nothing, and a bypass is a gate of its own."""


class Steps:
    """All steps of a batch, one after the other; arrays have one entry per step, but for those of `metric`.

    rows    frame row of each step, rising
    fields  the steps' fields by column; without columns where no trace has steps
    height  rows of the frame
    """

    def __init__(self, rows: Places, fields: pl.DataFrame, height: int) -> None:
        self.rows, self.fields, self.height = rows, fields, height
        self._filled: dict[str, pl.Series] = {}

    def __len__(self) -> int:
        return self.rows.size

    def is_kind(self, kind: str) -> Mask:
        return (self._texts("kind") == kind).to_numpy()

    def had(self, *outcomes: str) -> Mask:
        """Steps with one of these outcomes, in whatever case they are written."""
        return self._outcomes.is_in(outcomes).to_numpy()

    @cached_property
    def _outcomes(self) -> pl.Series:
        return self._texts("outcome").str.to_lowercase()

    def _texts(self, field: str) -> pl.Series:
        if field not in self._filled:
            self._filled[field] = self.fields[field].fill_null("") if len(self) else pl.Series(field, [], pl.String)
        return self._filled[field]

    @cached_property
    def before(self) -> Places:
        """The last step before it in its trace that made the same call; -1 where it is the first."""
        fields = [self._texts(name) for name in ("kind", "name", "mcp_server", "scope")]
        called, codes = segments.dictionary(pl.select(pl.concat_str(fields, separator="\0")).to_series())
        call = self.rows * max(1, len(called)) + codes
        order = np.argsort(call, kind="stable")
        again = np.flatnonzero(call[order][1:] == call[order][:-1])
        before = np.full(len(self), -1, np.int64)
        before[order[again + 1]] = order[again]
        return before

    def metric(self, name: str) -> tuple[Floats, Mask]:
        """By frame row: values of a metric, and which rows have one. A trace without steps has taken none."""
        everywhere = np.ones(self.height, np.bool_)
        match name:
            case "steps":
                return self._count(np.ones(len(self), np.bool_)), everywhere
            case "repeated_calls":
                return self._count((self.before >= 0) & self.is_kind("tool")), everywhere
            case "retries":
                return self._count((self.before >= 0) & self.had("error")[self.before]), everywhere
            case "samples":
                samples = self._count(self.is_kind("model"))
                return samples, samples > 0
            case "denied_tool_rate":
                return self._any(self.is_kind("tool") & self.had("denied")), everywhere
            case _:
                return self._any(self.is_kind("guardrail") & ~self.had(*PASSED)), everywhere

    def _count(self, chosen: Mask) -> Floats:
        return np.bincount(self.rows[chosen], minlength=self.height).astype(np.float64)

    def _any(self, chosen: Mask) -> Floats:
        return np.minimum(self._count(chosen), 1.0)
