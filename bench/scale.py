"""What more processes and more partitions cost and give: python -m bench.scale [--rate 5000] [--seconds 15]

The whole path at one rate: with 1, 2 and 4 processes of intake, judge and recorder, and with 1 to 16 partitions of the
sources and of the ledger. All share this machine, so more processes cannot do more here than its cores allow. What each
row tells is what a trace costs then, and how many traces a second such processes could do with a core each, if a trace
went on costing that. It would cost less: at a low rate batches are small, so measure near what the machine sustains.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.pipeline import sustained
from bench.running import FOLLOWED, Window, running
from bench.table import Table, heading
from stoploss.cli.stack import ROLES

RATE, SECONDS, EXPERIMENTS = 5_000, 15.0, 32
PROCESSES, PARTITIONS = (1, 2, 4), (1, 4, 16)


@dataclass(frozen=True, slots=True)
class Shape:
    """processes: of each role that traces grow with; partitions: of sources and ledger."""

    processes: int
    partitions: int

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(role for role in ROLES for _ in range(self.processes if role in FOLLOWED else 1))


def shapes(processes: tuple[int, ...], partitions: tuple[int, ...]) -> Iterator[Shape]:
    """More processes, with as many partitions as make a difference; then one process with all partitions."""
    yield from (Shape(number, max(partitions)) for number in processes)
    yield from (Shape(1, number) for number in partitions if number != max(partitions))


def measured(shape: Shape, rate_per_s: int, seconds: float, experiments: int) -> Window:
    with (
        tempfile.TemporaryDirectory() as home,
        running(
            Path(home),
            experiments,
            shape.roles,
            source_partitions=shape.partitions,
            ledger_partitions=shape.partitions,
        ) as one,
    ):
        return one.window(rate_per_s, seconds)


def room(window: Window, role: str, processes: int) -> float:
    """Traces a second of so many processes, each with a core of its own."""
    return processes * 1e6 / max(window.micros_a_trace(role), 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--experiments", type=int, default=EXPERIMENTS)
    parser.add_argument("--processes", type=int, nargs="+", default=list(PROCESSES))
    parser.add_argument("--partitions", type=int, nargs="+", default=list(PARTITIONS))
    given = parser.parse_args()
    heading(
        "Processes and partitions",
        f"The whole path at {given.rate:,} traces/s of {given.experiments} experiments with every kind of rule, for "
        f"{given.seconds:.0f} s, all on the same cores. Microseconds of processor a trace, all processes of a role "
        "together; room: traces a second that they could do with a core each at this cost.",
        ("confluent-kafka", "faust-streaming", "polars", "numpy"),
    )
    table = Table(
        ("processes", "partitions", *FOLLOWED, "broker", *(f"room of {role}" for role in FOLLOWED), "sustained")
    )
    for shape in shapes(tuple(given.processes), tuple(given.partitions)):
        window = measured(shape, given.rate, given.seconds, given.experiments)
        costs = [f"{window.micros_a_trace(name):.1f}" for name in (*FOLLOWED, "broker")]
        rooms = [f"{room(window, role, shape.processes):,.0f}" for role in FOLLOWED]
        table.add(str(shape.processes), str(shape.partitions), *costs, *rooms, "yes" if sustained(window) else "no")
        print(f"{shape}: {', '.join(costs)} µs a trace", file=sys.stderr, flush=True)
    print(table.markdown())


if __name__ == "__main__":
    main()
