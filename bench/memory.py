"""Resident memory, and what of it stays: python bench/memory.py [--traces 200000 500000 1000000] [--experiments 10 100]

Judge and intake are driven in a process of their own, with what their Faust apps call: the fold of a ledger, and the
pipeline of a batch.

traces        after so many traces of one experiment with every kind of rule and 28 segment values: it must not grow
values        the same, with each trace of another tenant: few values get a cell, the others have bounded memory
experiments   so many experiments on one partition: bytes of each, size of the snapshot
restore       a worker takes over a partition with --restored experiments: broker, snapshot, MAC and all; one that was
              just started, and one that judges as many already

For all of the 50 million: --traces 1000000 10000000 50000000 --values 1000000 --experiments 10 100 1000
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

import numpy as np

from bench.judge_fold import SPEC as OF_A_SHORT_RUN
from bench.judge_fold import VALUES, traffic
from bench.table import Table, heading, mib
from stoploss import logs, snapshot
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.intake.pipeline import read_traces
from stoploss.intake.repeats import Remembered
from stoploss.intake.results import Fetched, RawRecord
from stoploss.ledger import Entry, EvidenceBlock, Fact, SegmentColumn
from stoploss.lifecycle import Lifecycle
from stoploss.monitor import step
from stoploss.outputs import CommandOutput, Output
from stoploss.settings import Settings
from stoploss.state import PartitionState
from streams.admin import Admin
from streams.appender import Appender
from streams.partition_judge import PartitionJudge
from streams.snapshot_store import write_snapshot
from tests.installation import create_installation_keys, installation_keys, settings_of
from tests.intake.records import AT, NAME, SALT, SOURCE, assigned, avro, trace, watching
from tests.timelines import SECRET, START, Timeline, stored

# No scores come, which is a breach after ten minutes of ledger time: after three million traces.
SPEC = OF_A_SHORT_RUN.replace("within: 10m", "within: 7d")
BLOCK_ROWS = 1_000
ROWS_A_TICK = 5_000
ROWS_OF_EACH = 5_000
"""That each of many experiments has had: all its segment values have a cell then."""
BATCH = 2_000
NAME_IN_SPEC = "name: checkout,"
Told = tuple[int, int]
"""A number of traces, and the resident bytes after them."""
Result = TypeVar("Result")


def resident_bytes() -> int:
    """Of this process, once what nobody holds is given up."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# ---- the judge -------------------------------------------------------------------------------------


class Ledger(Timeline):
    """A timeline that keeps nothing but the state, as a judge does. Several may write to one partition."""

    def __init__(self, text: str, state: PartitionState, offsets: Iterator[int]) -> None:
        super().__init__(text, state)
        self._offsets = offsets

    def append(self, fact: Fact) -> list[Output]:
        out = step(self.state, Entry(0, next(self._offsets), self.at, fact))
        self.outputs = [output for output in out if isinstance(output, CommandOutput)] or self.outputs[-1:]
        return out


def of_values(some_blocks: Iterator[EvidenceBlock], tenants: Iterator[int]) -> Iterator[EvidenceBlock]:
    """The same blocks, each row of a tenant that nobody has seen before."""
    for block in some_blocks:
        names = tuple(f"tenant-{next(tenants)}" for _ in range(block.rows))
        tenant = SegmentColumn("tenant", names, np.arange(block.rows, dtype="<u2").tobytes())
        others = [column for column in block.segments if column.dimension != "tenant"]
        yield replace(block, segments=(tenant, *others))


def judge_traces(points: tuple[int, ...], every_tenant_new: bool) -> list[Told]:
    """Resident bytes of a judge after each number of traces."""
    ledger = Ledger(SPEC, PartitionState(0), count())
    ledger.started()
    tenants, folded, told = count(), 0, [(0, resident_bytes())]
    for part in count():
        blocks = ledger.blocks(traffic(part % 8), BLOCK_ROWS)
        for block in of_values(blocks, tenants) if every_tenant_new else blocks:
            ledger.append(block)
            folded += block.rows
            if folded % ROWS_A_TICK == 0:
                ledger.seconds(1)
            if folded in points:
                told.append((folded, resident_bytes()))
        if folded >= max(points):
            break
    if ledger.it.lifecycle != Lifecycle.RUNNING:
        raise SystemExit(f"the run is {ledger.it.lifecycle}: what was measured is not its judging")
    return told


def partition_of(experiments: int) -> PartitionState:
    """A partition's state with so many running experiments, each of which has had ROWS_OF_EACH rows."""
    state, offsets = PartitionState(0), count()
    parts = [traffic(part) for part in range(min(experiments, 8))]
    for number in range(experiments):
        ledger = Ledger(SPEC.replace(NAME_IN_SPEC, f"name: checkout-{number},"), state, offsets)
        ledger.at = max(START, state.clock)
        ledger.started()
        for place, block in enumerate(ledger.blocks(parts[number % 8], BLOCK_ROWS)):
            if place * BLOCK_ROWS >= ROWS_OF_EACH:
                break
            ledger.append(block)
        ledger.seconds(1)
    return state


@dataclass(slots=True)
class OfExperiments:
    experiments: int
    none_bytes: int
    resident_bytes: int = 0
    snapshot_bytes: int = 0
    load_cpu_s: float = 0.0


def judge_experiments(experiments: int) -> OfExperiments:
    warm = partition_of(1)
    stored(warm)
    found = OfExperiments(experiments, resident_bytes())
    state = partition_of(experiments)
    found.resident_bytes = resident_bytes()
    data = stored(state)
    found.snapshot_bytes = len(data)
    began_s = time.process_time()
    snapshot.load(PartitionState, data, SECRET)
    found.load_cpu_s = time.process_time() - began_s
    return found


# ---- intake ----------------------------------------------------------------------------------------


def batch(first: int, every_tenant_new: bool) -> list[RawRecord]:
    """BATCH traces from that number on, each of an id of its own."""
    return [
        RawRecord(number, _trace(number, number if every_tenant_new else number % VALUES["tenant"]), AT // 1_000)
        for number in range(first, first + BATCH)
    ]


def _trace(number: int, tenant: int) -> bytes:
    return avro(
        trace(
            trace_id=f"{number:032x}",
            unit_id=f"user-{number % 500_000}",
            tenant=f"tenant-{tenant}",
            language=("de", "en", "fr", "it", "pl")[number % VALUES["language"]],
            channel=("web", "app", "mail")[number % VALUES["channel"]],
            output_tokens=100 + number % 400,
            assignments=[assigned("small" if number % 2 else "current", NAME)],
        )
    )


def intake_traces(points: tuple[int, ...], every_tenant_new: bool) -> list[Told]:
    """Resident bytes of an intake after each number of traces."""
    watched, seen, told = watching(), Remembered(), [(0, resident_bytes())]
    for first in range(0, max(points), BATCH):
        records = batch(first, every_tenant_new)
        [found] = read_traces([Fetched.of(SOURCE, records)], watched, salt=SALT, now_micros=AT, seen=seen)
        if found.counts.valid != BATCH:
            raise SystemExit(f"intake refused some of {BATCH} traces: {found.rejects[:1]}")
        if any(first < point <= first + BATCH for point in points):
            del records, found
            told.append((first + BATCH, resident_bytes()))
    return told


# ---- a restore -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Restored:
    seconds: float
    cpu_s: float


def restores(experiments: int) -> tuple[int, list[Restored]]:
    """Bytes of a snapshot, and how long a worker needs until it can judge its partition: one that was just started, and
    one that judges as many experiments already."""
    with tempfile.TemporaryDirectory() as name, EmbeddedKafka(Path(name) / "kafka") as kafka:
        settings = settings_of(kafka, Path(name), ledger_partitions=1)
        Admin(settings.need_kafka()).create(settings)
        create_installation_keys(settings)
        written = alone(partial(write, settings, experiments))
        return written, [alone(partial(take_over, settings, held)) for held in (0, experiments)]


def write(settings: Settings, experiments: int) -> int:
    secret, state = installation_keys(settings).secret, partition_of(experiments)
    appender = Appender(settings.need_kafka())
    return write_snapshot(appender, settings.topics("snapshots"), state, 0, secret).size_bytes


def take_over(settings: Settings, held: int) -> Restored:
    """held  experiments of another partition that this process judges"""
    logs.to_stderr("WARNING")
    others, judge = partition_of(held), PartitionJudge(settings, 0, installation_keys(settings))
    began_s, cpu_s = time.perf_counter(), time.process_time()
    if judge.restore() <= 1:
        raise SystemExit("the snapshot was not taken")
    took = Restored(time.perf_counter() - began_s, time.process_time() - cpu_s)
    del others  # they stood on the heap all the while
    return took


# ---- tables ----------------------------------------------------------------------------------------


def alone(work: Callable[[], Result]) -> Result:
    """In a new process: what another measurement has left behind is not counted."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work)


def of_traces(points: tuple[int, ...], values: int) -> Table:
    found = Table(("role and traffic", "traces", "resident", "more than before any"))
    cases: dict[str, Callable[[], list[Told]]] = {
        "judge, 28 segment values": partial(judge_traces, points, False),
        f"judge, {values:,} segment values tried": partial(judge_traces, (values,), True),
        "intake, 28 segment values": partial(intake_traces, points, False),
        f"intake, {values:,} segment values tried": partial(intake_traces, (values,), True),
    }
    for name, work in cases.items():
        told = alone(work)
        for traces, held in told:
            found.add(name, f"{traces:,}", mib(held), mib(held - told[0][1]))
        print(f"{name}: {mib(told[-1][1])}", file=sys.stderr, flush=True)
    return found


def of_experiments(numbers: tuple[int, ...]) -> Table:
    found = Table(
        ("experiments", "resident", "bytes of each", "snapshot", "bytes of each in it", "read in processor s")
    )
    for number in numbers:
        one = alone(partial(judge_experiments, number))
        each = (one.resident_bytes - one.none_bytes) / number
        in_it = one.snapshot_bytes / number
        found.add(
            f"{number:,}",
            mib(one.resident_bytes),
            f"{each:,.0f}",
            mib(one.snapshot_bytes),
            f"{in_it:,.0f}",
            f"{one.load_cpu_s:.2f}",
        )
        print(f"{number} experiments: {each:,.0f} bytes each", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, nargs="+", default=[200_000, 500_000, 1_000_000])
    parser.add_argument("--values", type=int, default=200_000)
    parser.add_argument("--experiments", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--restored", type=int, default=200)
    given = parser.parse_args()
    heading(
        "Memory",
        f"Each line is measured in a process of its own. Blocks of {BLOCK_ROWS:,} rows and a tick every "
        f"{ROWS_A_TICK:,}; batches of {BATCH:,} at intake. Each of many experiments has had {ROWS_OF_EACH:,} rows, "
        f"{sum(VALUES.values())} segment values and every kind of rule.",
        ("numpy", "polars", "river"),
    )
    print(of_traces(tuple(given.traces), given.values).markdown() + "\n", flush=True)
    print(of_experiments(tuple(given.experiments)).markdown() + "\n", flush=True)
    snapshot_bytes, (started, judging) = restores(given.restored)
    found = Table(("who takes over", "experiments", "snapshot", "s", "processor s", "goal"))
    for who, one in {"a worker that was just started": started, "one that judges as many already": judging}.items():
        found.add(who, f"{given.restored:,}", mib(snapshot_bytes), f"{one.seconds:.2f}", f"{one.cpu_s:.2f}", "5 s")
    print(found.markdown())


if __name__ == "__main__":
    main()
