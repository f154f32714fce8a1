"""Memory of every role as traces come: python -m bench.soak [--rate 20000] [--traces 250000 500000 1000000]

The real processes, as `stoploss up` runs them, with producer, broker and ClickHouse on the same machine; five
experiments with every kind of rule. bench/memory.py drives judge and intake alone, and so comes to many more traces.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.running import Running, running
from bench.table import Table, heading, mib

LOOK_EVERY_S = 1.0


def grown(one: Running, rate_per_s: int, points: Sequence[int]) -> dict[int, Mapping[str, int]]:
    """Resident bytes by role after each number of traces; 0: before any."""
    found, first = {0: one.resident_bytes()}, one.lags()["intake"].end
    with one.load(rate_per_s):
        for point in points:
            while one.lags()["intake"].end - first < point:
                time.sleep(LOOK_EVERY_S)
            found[point] = one.resident_bytes()
            print(f"{point:,} traces", file=sys.stderr, flush=True)
    one.drain()
    one.require_running()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=20_000, help="traces a second")
    parser.add_argument("--traces", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--experiments", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, running(Path(home), given.experiments) as one:
        found = grown(one, given.rate, sorted(given.traces))
    heading(
        "Memory of every role",
        f"{given.experiments} experiments with every kind of rule, {given.rate:,} traces/s; resident after so many.",
        ("faust-streaming", "confluent-kafka", "polars", "chdb"),
    )
    table = Table(("role", *(f"{point:,}" for point in found)))
    for role in sorted(found[0]):
        table.add(role, *(mib(sizes[role]) for sizes in found.values()))
    print(table.markdown())


if __name__ == "__main__":
    main()
