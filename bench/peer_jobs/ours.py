"""Ours: inside Faust, with the batch transport, the guarded block decode and exact integer sums of whole columns."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import length_hint

import faust
import numpy as np
import numpy.typing as npt
import polars as pl
from river.drift import ADWIN

from bench.peer_jobs.job import DIMENSIONS, METRICS, SOURCE, VARIANTS, WATCHED, Given, Watch, detectors, write
from stoploss.intake.quantise import quantise
from stoploss.intake.segments import dictionary
from stoploss.metrics import METRICS as KNOWN
from stoploss.metrics import Metric, score
from stoploss.running import Grid, Sums
from stoploss.settings import load
from stoploss.stats.exact_sums import BLOCK_ROWS, joined
from stoploss.wire.block import read_block
from stoploss.wire.schemas import schema_of
from streams.app import build_app
from streams.batches import Batch
from streams.collecting import keep_what_is_there
from streams.transport import consumer_of

SCHEMA = schema_of("peer_trace", SOURCE)
Codes = npt.NDArray[np.int64]


class Columns:
    """The job, a batch at a time."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.watch = Watch(given.traces)
        self.places: dict[str, dict[str, int]] = {name: {} for name in DIMENSIONS}
        self.places["all"][""] = 0
        self.sums = {name: Sums.none(dict(DIMENSIONS), quantiles=False) for name in METRICS}
        self.detectors = detectors()

    def add(self, values: Sequence[bytes]) -> bool:
        """True once all traces are folded."""
        frame = read_block(SCHEMA, list(values))
        arm = self._codes(frame["variant"], {name: place for place, name in enumerate(VARIANTS)})
        self._watch(frame, arm)
        for start in range(0, frame.height, BLOCK_ROWS):
            self._fold(frame[start : start + BLOCK_ROWS], arm[start : start + BLOCK_ROWS])
        return self.watch.add(frame.height)

    def _fold(self, frame: pl.DataFrame, arm: Codes) -> None:
        cells = {name: self._codes(frame[name], self.places[name]) for name in DIMENSIONS if name != "all"}
        grid = Grid(arm, {"all": np.zeros(frame.height, np.int64), **cells})
        present = np.ones(frame.height, bool)
        for name, sums in self.sums.items():
            held = frame[name].cast(pl.Float64).to_numpy()
            sums.fold(grid, quantise(held, present, metric(name), "none"))

    def _codes(self, column: pl.Series, places: dict[str, int]) -> Codes:
        distinct, codes = dictionary(column)
        return np.array([places.setdefault(value, len(places)) for value in distinct], np.int64)[codes]

    def _watch(self, frame: pl.DataFrame, arm: Codes) -> None:
        for place, variant in enumerate(VARIANTS):
            mine = arm == place
            if not mine.any():
                continue
            for name, detector in zip(WATCHED, self.detectors[variant], strict=True):
                feed(detector, frame[name].to_numpy()[mine].tolist())

    def tell(self) -> None:
        """Writes the numbers; nothing of it is timed."""
        write(self.given, self.watch.took(), self.cells(), self.detectors)

    def cells(self) -> dict[str, list[object]]:
        """n, mean and M2 of each metric, as the others have them."""
        return {
            f"{variant}/{name}/{value}": self._cell(name, arm, place)
            for arm, variant in enumerate(VARIANTS)
            for name, places in self.places.items()
            for value, place in places.items()
        }

    def _cell(self, dimension: str, arm: int, place: int) -> list[object]:
        at = next(iter(self.sums.values())).starts()[dimension] + arm * DIMENSIONS[dimension] + place
        moments = [_moments(sums, at, metric(name).scale) for name, sums in self.sums.items()]
        return [moments[0][0], [mean for _, mean, _ in moments], [m2 for _, _, m2 in moments]]


def feed(detector: ADWIN, values: Sequence[float]) -> None:
    """As detector.update for each value, without Python around each: the window is river's own, in Rust."""
    rest = iter(values)
    while length_hint(rest):
        if detector.drift_detected:
            detector._reset()
        detector._drift_detected = any(map(detector._helper.update, rest))


def metric(name: str) -> Metric:
    """How the metric is rounded to whole numbers; a score is none that is known by name."""
    return KNOWN.get(name) or score(name)


def _moments(sums: Sums, at: int, scale: int) -> tuple[int, float, float]:
    n, total, squares = int(sums.n[at]), int(sums.total[at]), joined(*sums.squares[:, at].tolist())
    return n, total / n / scale, (n * squares - total * total) / n / scale**2


def _values(batch: Batch) -> list[bytes]:
    return [message.value() or b"" for message in batch.messages]


def main() -> None:
    given = Given.from_arguments()
    columns = Columns(given)
    prefix, _, name = given.topic.partition(".")
    settings = load(
        kafka=given.bootstrap, topic_prefix=f"{prefix}.", installation=given.group, home=given.result.parent / "ours"
    )

    thread = ThreadPoolExecutor(1, "fold")  # as every role works: meanwhile the next batch is fetched

    async def fold(batch: Batch) -> None:
        done = await asyncio.get_running_loop().run_in_executor(thread, columns.add, _values(batch))
        consumer_of(app).complete(batch)
        if done:
            columns.tell()
            os._exit(0)

    app = build_app(settings, "peer", {name: fold})
    keep_what_is_there()  # as a worker does
    worker = faust.Worker(app, loglevel="WARN", redirect_stdouts=False, quiet=True)
    worker.spinner = None
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
