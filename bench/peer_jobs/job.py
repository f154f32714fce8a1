"""The job that everybody does, as plain Python does it, and the form in which each tells its numbers.

Of every trace: running n, mean and M2 (the sum of squared deviations, Welford 1962) of five metrics, for its variant in
29 segment values (everybody, 20 tenants, 5 languages, 3 channels), and one ADWIN for each variant on latency and on
output tokens. Runs in the peers' own environments too, so it imports nothing of stoploss.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
from river.drift import ADWIN

_TEXT = ("trace_id", "service", "experiment", "variant", "unit_id", "tenant", "language", "channel", "model", "prompt")
_NUMBERS = {"latency_ms": "double", "time_to_first_token_ms": "double", "input_tokens": "long", "output_tokens": "long"}
SOURCE: dict[str, Any] = {
    "type": "record",
    "name": "PeerTrace",
    "namespace": "dev.stoploss.bench",
    "fields": [
        *({"name": name, "type": "string"} for name in _TEXT),
        {"name": "at", "type": "long"},
        *({"name": name, "type": kind} for name, kind in _NUMBERS.items()),
        {"name": "cost_usd", "type": "double"},
        {"name": "helpfulness", "type": "double"},
        {"name": "finish_reason", "type": "string"},
    ],
}
VARIANTS = ("current", "small")
METRICS = ("latency_ms", "input_tokens", "output_tokens", "cost_usd", "helpfulness")
WATCHED = ("latency_ms", "output_tokens")
DIMENSIONS = {"all": 1, "tenant": 20, "language": 5, "channel": 3}
WARM_SHARE = 0.1
"""Of the traces, so many are folded before the clock starts: connecting and joining a group are no throughput."""

SESSION_S = 300
"""On a busy machine nobody is to lose its partitions, and read them again, in the middle of the job."""

Record = Mapping[str, Any]


class Given(NamedTuple):
    """What a process is told: where the traces are, how many to fold, and where its numbers go."""

    bootstrap: str
    topic: str
    traces: int
    result: Path

    @classmethod
    def from_arguments(cls) -> Given:
        bootstrap, topic, traces, result = sys.argv[1:]
        return cls(bootstrap, topic, int(traces), Path(result))

    @property
    def group(self) -> str:
        """A consumer group of its own for each run: everybody starts at the beginning."""
        return self.result.stem


def librdkafka(given: Given) -> dict[str, Any]:
    """What everybody who reads by librdkafka gets: by default it pauses for a second once its queue is full."""
    return {
        "bootstrap.servers": given.bootstrap,
        "group.id": given.group,
        "auto.offset.reset": "earliest",
        "fetch.queue.backoff.ms": 1,
        "session.timeout.ms": SESSION_S * 1_000,
    }


PARSED = fastavro.parse_schema(SOURCE)


def decode(value: bytes) -> Record:
    """A bare datum, no framing."""
    record: Record = fastavro.schemaless_reader(io.BytesIO(value), PARSED, None)  # type: ignore[assignment]
    return record


class Watch:
    """Seconds, and seconds of the processor, from the moment WARM_SHARE of the traces are folded to the end."""

    def __init__(self, traces: int) -> None:
        self.traces, self.folded = traces, 0
        self._mark = int(traces * WARM_SHARE)
        self._from = (0, 0.0, 0.0)

    def add(self, folded: int) -> bool:
        """So many more are folded; true once all are."""
        self.folded += folded
        if self.folded < self._mark:
            return False
        if self._from[0] == 0:
            self._from = (self.folded, time.perf_counter(), time.process_time())
            self._mark = self.traces
        return self.folded >= self.traces

    def took(self) -> dict[str, float]:
        folded, clock_s, cpu_s = self._from
        return {
            "traces": self.folded - folded,
            "seconds": time.perf_counter() - clock_s,
            "cpu_seconds": time.process_time() - cpu_s,
        }


@dataclass(slots=True)
class Cell:
    """Running n, mean and M2 of each metric, for one variant in one segment value."""

    n: int = 0
    mean: list[float] = field(default_factory=lambda: [0.0] * len(METRICS))
    m2: list[float] = field(default_factory=lambda: [0.0] * len(METRICS))


def detectors() -> dict[str, list[Any]]:
    """A detector for each of WATCHED, by variant."""
    make: Any = ADWIN
    return {variant: [make() for _ in WATCHED] for variant in VARIANTS}


class Job:
    """One trace at a time, in dicts: what a stream processor's handler does."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.watch = Watch(given.traces)
        self.cells: dict[tuple[str, str, str], Cell] = {}
        self.detectors = detectors()

    def add(self, trace: Record) -> bool:
        """True once all traces are folded."""
        variant = trace["variant"]
        values = [trace[name] for name in METRICS]
        self._fold((variant, "all", ""), values)
        self._fold((variant, "tenant", trace["tenant"]), values)
        self._fold((variant, "language", trace["language"]), values)
        self._fold((variant, "channel", trace["channel"]), values)
        latency, tokens = self.detectors[variant]
        latency.update(trace["latency_ms"])
        tokens.update(trace["output_tokens"])
        return self.watch.add(1)

    def _fold(self, key: tuple[str, str, str], values: list[float]) -> None:
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell()
        cell.n = n = cell.n + 1
        mean, m2 = cell.mean, cell.m2
        for place, value in enumerate(values):
            off = value - mean[place]
            mean[place] = moved = mean[place] + off / n
            m2[place] += off * (value - moved)

    def tell(self) -> None:
        """Writes the numbers; nothing of it is timed."""
        took = self.watch.took()
        cells = {"/".join(key): [cell.n, cell.mean, cell.m2] for key, cell in self.cells.items()}
        write(self.given, took, cells, self.detectors)

    def end(self) -> None:
        """Tells, and ends the process here and now: how a framework shuts down is not measured."""
        self.tell()
        os._exit(0)


def write(
    given: Given, took: Mapping[str, float], cells: Mapping[str, Any], detectors: Mapping[str, list[Any]]
) -> None:
    given.result.write_text(json.dumps({"took": took, "cells": cells, "detectors": windows(detectors)}))


def windows(detectors: Mapping[str, list[Any]]) -> dict[str, list[list[float]]]:
    """Of each detector, how many values it holds to be alike, and their mean."""
    return {variant: [[one.width, one.estimation] for one in several] for variant, several in detectors.items()}
