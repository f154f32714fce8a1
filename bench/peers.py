"""The same job for everyone, on the same real Kafka: `make bench-peers`, or python bench/peers.py [--runs 5]

400,000 Avro traces of 18 fields stand on a topic. Each process reads them and keeps what bench/peer_jobs/job.py says:
running n, mean and M2 of five metrics by variant and segment value, and four ADWINs. A variant's traces stand on one
partition, so that a detector is given its values in one order, whoever reads. In each round everybody has a turn, one
process at a time, and everybody's numbers are held against what ours gives for as many traces: n and the detectors'
windows the same, means and M2 to a part in 10**9. Where they differ this ends with an error.

Seconds run from a tenth of the traces to the end, so neither starting nor joining a group counts. Stock Faust is so
slow that it is given fewer of the traces; what is told of each is a rate.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import numpy as np
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bench.peer_jobs.job import DIMENSIONS, PARSED, VARIANTS, WATCHED, Given, windows
from bench.peer_jobs.ours import Columns
from bench.table import RUNS, Table, heading, spread, times
from stoploss.embedded.kafka import EmbeddedKafka

ROOT = Path(__file__).resolve().parents[1]
TRACES, STOCK_FAUST_TRACES = 400_000, 60_000
TOLERANCE = 1e-9
PATIENCE_S = 600.0


@dataclass(slots=True)
class Peer:
    """
    environment  its Python environment: that of the project, or one of .peers/
    lock         where its version stands
    goal         how many times as fast ours is to be
    seconds      of the clock, and of the processor, a trace, in each run
    """

    name: str
    package: str
    module: str
    environment: str
    lock: str
    goal: float
    share: float = 1.0
    clock: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def python(self) -> Path:
        return ROOT / self.environment / "bin" / "python"

    @property
    def title(self) -> str:
        found = re.search(rf"^{self.package}==(\S+)", (ROOT / "requirements" / self.lock).read_text(), re.MULTILINE)
        if found is None:
            raise SystemExit(f"requirements/{self.lock} has no {self.package}: make lock")
        return f"{self.name}, {self.package} {found[1]}"


def peers(stock_faust_share: float) -> list[Peer]:
    return [
        Peer("stock Faust", "faust-streaming", "stock_faust", ".venv", "dev.lock", 45.0, stock_faust_share),
        Peer("Quix Streams", "quixstreams", "quix", ".peers/quix", "peers-quix.lock", 6.0),
        Peer("Bytewax", "bytewax", "with_bytewax", ".peers/bytewax", "peers-bytewax.lock", 5.0),
        Peer("by hand", "confluent-kafka", "by_hand", ".venv", "dev.lock", 4.5),
        Peer("ours in Faust", "faust-streaming", "ours", ".venv", "dev.lock", 1.0),
    ]


# ---- the traces ------------------------------------------------------------------------------------


def made(traces: int, seed: int = 1) -> list[list[bytes]]:
    """Bare Avro datums by variant. Halfway through, the small model's answers become longer, so detectors fire."""
    return [_of_variant(arm, traces // len(VARIANTS), seed) for arm in range(len(VARIANTS))]


def _of_variant(arm: int, rows: int, seed: int) -> list[bytes]:
    rng = np.random.default_rng([seed, arm])
    tokens = np.round(rng.lognormal(5, 0.7, rows) * np.where((np.arange(rows) > rows / 2) & (arm == 1), 1.2, 1.0))
    # Whole microseconds, nano-dollars and millionths: what ours rounds to, so that nobody computes with other numbers.
    columns: dict[str, list[Any]] = {
        "trace_id": [f"{number:016x}" for number in rng.integers(0, 2**62, rows).tolist()],
        "service": ["checkout"] * rows,
        "experiment": ["model"] * rows,
        "variant": [VARIANTS[arm]] * rows,
        "unit_id": [f"u-{user:05}" for user in rng.integers(0, 90_000, rows).tolist()],
        **{name: _values(rng, name, values, rows) for name, values in DIMENSIONS.items() if name != "all"},
        "model": [f"{VARIANTS[arm]}-1"] * rows,
        "prompt": ["v7"] * rows,
        "at": (1_760_000_000_000_000 + np.arange(rows) * 10_000).tolist(),
        "latency_ms": (np.round(rng.lognormal(7, 0.6, rows) * 1e3) / 1e3).tolist(),
        "time_to_first_token_ms": (np.round(rng.lognormal(5, 0.5, rows) * 1e3) / 1e3).tolist(),
        "input_tokens": rng.integers(50, 4_000, rows).tolist(),
        "output_tokens": tokens.astype(int).tolist(),
        "cost_usd": (np.round(tokens * 600) / 1e9).tolist(),
        "helpfulness": (np.round(rng.beta(8, 2, rows) * 1e6) / 1e6).tolist(),
        "finish_reason": ["stop"] * rows,
    }
    return [_datum(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _values(rng: np.random.Generator, name: str, values: int, rows: int) -> list[str]:
    return [f"{name[:2]}-{value:02}" for value in rng.integers(0, values, rows).tolist()]


def _datum(record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED, record)
    return out.getvalue()


def produce(bootstrap: str, by_variant: list[list[bytes]]) -> str:
    """Each variant's traces on a partition of its own of a new topic; its name."""
    topic = f"peers-{uuid.uuid4().hex[:8]}.traces"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, len(by_variant), 1)])[topic].result()
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "queue.buffering.max.messages": 10_000_000}
    )
    for numbers in zip(*by_variant, strict=True):
        for partition, value in enumerate(numbers):
            producer.produce(topic, value, partition=partition)
    if producer.flush(PATIENCE_S):
        raise SystemExit("not all traces reached the broker")
    return topic


@contextmanager
def broker(bootstrap: str | None, directory: Path) -> Iterator[str]:
    """The address of the one that is named, or of an embedded one for as long."""
    if bootstrap:
        yield bootstrap
        return
    with EmbeddedKafka(directory / "kafka") as kafka:
        yield kafka.bootstrap


# ---- a turn ----------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where the traces are, and where processes may write."""

    bootstrap: str
    topic: str
    directory: Path


def run(peer: Peer, place: Place, traces: int) -> dict[str, Any]:
    """One process from start to end; its numbers."""
    name = f"{place.topic.partition('.')[0]}-{peer.module}-{len(peer.clock)}".replace("_", "-")
    result = place.directory / f"{name}.json"
    arguments = [place.bootstrap, place.topic, str(traces), str(result)]
    command = [str(peer.python), "-m", f"bench.peer_jobs.{peer.module}", *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode != 0 or not result.exists():
        raise SystemExit(f"{peer.name} ended with {done.returncode}:\n{done.stdout[-2_000:]}{done.stderr[-4_000:]}")
    told: dict[str, Any] = json.loads(result.read_text())
    return told


def expected(by_variant: list[list[bytes]], folded: tuple[int, ...]) -> dict[str, Any]:
    """What ours gives for the first so many traces of each variant, read from no broker, in blocks of 5,000."""
    columns = Columns(Given("", "", 0, Path(os.devnull)))
    for values, count in zip(by_variant, folded, strict=True):
        for start in range(0, count, 5_000):
            columns.add(values[start : min(start + 5_000, count)])
    return {"cells": columns.cells(), "detectors": windows(columns.detectors)}


def differences(told: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    """In words; none where all numbers agree."""
    if told["cells"].keys() != wanted["cells"].keys():
        yield f"other cells: {sorted(told['cells'].keys() ^ wanted['cells'].keys())[:5]}"
        return
    for name, (n, means, squares) in wanted["cells"].items():
        found_n, found_means, found_squares = told["cells"][name]
        if found_n != n or not _close(found_means, means) or not _close(found_squares, squares):
            yield f"{name}: {told['cells'][name]} instead of {wanted['cells'][name]}"
    for variant, held in wanted["detectors"].items():
        for metric, found, window in zip(WATCHED, told["detectors"][variant], held, strict=True):
            if not _close(found, window):
                yield f"the detector of {metric} in {variant}: {found} instead of {window}"


def _close(found: list[float], wanted: list[float]) -> bool:
    return all(math.isclose(one, other, rel_tol=TOLERANCE) for one, other in zip(found, wanted, strict=True))


def folded_of(told: dict[str, Any]) -> tuple[int, ...]:
    return tuple(told["cells"].get(f"{variant}/all/", [0])[0] for variant in VARIANTS)


def turn(peer: Peer, place: Place, by_variant: list[list[bytes]]) -> None:
    told = run(peer, place, int(sum(map(len, by_variant)) * peer.share))
    found = list(differences(told, expected(by_variant, folded_of(told))))
    if found:
        raise SystemExit(f"{peer.name} comes to other numbers than ours:\n" + "\n".join(found[:5]))
    took = told["took"]
    peer.clock.append(took["traces"] / took["seconds"])
    peer.cpu.append(took["traces"] / took["cpu_seconds"])


def table(all_: list[Peer]) -> Table:
    ours = all_[-1]
    found = Table(("who", "traces/s", "traces/s of its processor", "ours is faster by", "goal", "by processor time"))
    for peer in all_:
        by_clock = statistics.median(ours.clock) / statistics.median(peer.clock)
        by_cpu = statistics.median(ours.cpu) / statistics.median(peer.cpu)
        goal = times(peer.goal) if peer is not ours else ""
        found.add(peer.title, spread(peer.clock), spread(peer.cpu), times(by_clock), goal, times(by_cpu))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=TRACES)
    parser.add_argument("--stock-faust-traces", type=int, default=STOCK_FAUST_TRACES)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--bootstrap", help="a Kafka that runs already; default: an embedded one")
    parser.add_argument("--only", nargs="*", help="modules of bench/peer_jobs; ours is always there")
    given = parser.parse_args()
    all_ = [peer for peer in peers(min(1.0, given.stock_faust_traces / given.traces)) if _wanted(peer, given.only)]
    if missing := [peer.name for peer in all_ if not peer.python.exists()]:
        raise SystemExit(f"no environment for {', '.join(missing)}: make bench-peers")

    by_variant = made(given.traces)
    size_bytes = sum(sum(map(len, values)) for values in by_variant) / given.traces
    heading(
        "The same job for everyone",
        f"{given.traces:,} Avro traces of 18 fields and {size_bytes:.0f} bytes on {len(VARIANTS)} partitions of an "
        f"embedded Apache Kafka on the same cores; stock Faust reads {min(given.traces, given.stock_faust_traces):,} "
        f"of them. {given.runs} rounds, all in turn: median (least–most). Everybody's numbers were ours: n and windows "
        f"the same, means and M2 to {TOLERANCE:g}.",
        ("faust-streaming", "aiokafka", "confluent-kafka", "fastavro", "polars", "numpy", "river"),
    )
    with tempfile.TemporaryDirectory() as name, broker(given.bootstrap, Path(name)) as bootstrap:
        topic = produce(bootstrap, by_variant)
        for round_ in range(given.runs):
            for peer in all_:
                turn(peer, Place(bootstrap, topic, Path(name)), by_variant)
                print(f"round {round_ + 1}: {peer.name}: {peer.clock[-1]:,.0f} traces/s", file=sys.stderr, flush=True)
    print(table(all_).markdown())


def _wanted(peer: Peer, only: list[str] | None) -> bool:
    return only is None or peer.module in {*only, "ours"}


if __name__ == "__main__":
    main()
